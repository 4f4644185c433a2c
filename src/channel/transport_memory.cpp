// SPDX-License-Identifier: Apache-2.0
//
// Channels of one process: memory of its own, by name.  Nobody in it dies alone.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <mutex>

#include "channel/ring_pages.hpp"
#include "channel/segment.hpp"

namespace memtally::channel {

namespace {

class MemorySegment : public Segment {
 public:
  explicit MemorySegment(const ChannelOptions& options)
      : Segment(Geometry::For(options), options), pages_(geometry().file_bytes, options.huge_pages) {
    SetBase(pages_.base());
    if (options.prefault) pages_.Prefault();
    Format();
  }

  bool shared() const override { return false; }

 protected:
  bool LockSetup(bool /*wait*/) override {
    setup_.lock();
    return true;
  }
  void UnlockSetup() override { setup_.unlock(); }

 private:
  PrivatePages pages_;
  std::mutex setup_;
};

}  // namespace

std::shared_ptr<Segment> MakeMemorySegment(const ChannelOptions& options) {
  return std::make_shared<MemorySegment>(options);
}

}  // namespace memtally::channel
