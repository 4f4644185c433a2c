// SPDX-License-Identifier: Apache-2.0
//
// EventWatch: a thread that waits for messages and makes an eventfd readable, for programs that wait in poll().  It is
// armed: it says once that there is something, and again only after Rearm().
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "base/fd.hpp"
#include "channel/segment.hpp"

namespace memtally::channel {

class EventWatch {
 public:
  // Null with errno: EINVAL if nobody can sleep on this channel.
  static std::unique_ptr<EventWatch> Start(const std::shared_ptr<Segment>& segment);
  ~EventWatch();
  EventWatch(const EventWatch&) = delete;
  EventWatch& operator=(const EventWatch&) = delete;

  int fd() const { return fd_.get(); }
  // Nothing was left to receive: says so when there is something again.
  void Rearm();

 private:
  EventWatch(std::shared_ptr<Segment> segment, base::Fd fd);
  void Run();
  bool SomethingThere() const;

  std::shared_ptr<Segment> segment_;
  base::Fd fd_;
  std::atomic<uint32_t> armed_{1};  // a futex
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace memtally::channel
