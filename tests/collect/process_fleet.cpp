// SPDX-License-Identifier: Apache-2.0
#include "process_fleet.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include "child_process.hpp"

namespace memtally::collect {
namespace {

void Say(int fd) {
  const char done = 'd';
  if (write(fd, &done, 1) != 1) _exit(3);
}

// Never returns.
void Live(uint32_t number, int commands, int answers, const std::function<void(uint32_t)>& begin,
          const std::function<void(uint32_t)>& poke) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  begin(number);
  Say(answers);
  for (char command = 0; read(commands, &command, 1) == 1 && command == 'p';) {
    poke(number);
    Say(answers);
  }
  exit(0);
}

}  // namespace

std::function<void(uint32_t)> ProcessFleet::on_poke = [](uint32_t) {};

ProcessFleet::ProcessFleet(uint32_t count, const std::function<void(uint32_t)>& begin) {
  for (uint32_t i = 0; i < count; ++i) {
    int commands[2];
    int answers[2];
    if (pipe2(commands, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    const pid_t pid = fork();
    if (pid < 0) throw std::runtime_error("fork");
    if (pid == 0) {
      close(commands[1]);
      close(answers[0]);
      for (const Member& other : members_) close(other.commands), close(other.answers);
      Live(i, commands[0], answers[1], begin, on_poke);
    }
    close(commands[0]);
    close(answers[1]);
    members_.push_back({pid, commands[1], answers[0]});
  }
  for (Member& member : members_) Wait(&member);
}

ProcessFleet::~ProcessFleet() {
  for (uint32_t i = 0; i < members_.size(); ++i) Kill(i);
  for (const Member& member : members_) {
    close(member.commands);
    close(member.answers);
    model::RemoveFilesOf(member.pid);
  }
}

void ProcessFleet::Wait(Member* member) {
  char done = 0;
  if (read(member->answers, &done, 1) != 1) throw std::runtime_error("a process of the fleet has ended");
}

void ProcessFleet::Kill(uint32_t number) {
  kill(members_[number].pid, SIGKILL);
  waitpid(members_[number].pid, nullptr, 0);
}

void ProcessFleet::End(uint32_t number) {
  const char command = 'e';
  if (write(members_[number].commands, &command, 1) != 1) throw std::runtime_error("write");
  waitpid(members_[number].pid, nullptr, 0);
}

void ProcessFleet::Poke(uint32_t number) {
  const char command = 'p';
  if (write(members_[number].commands, &command, 1) != 1) throw std::runtime_error("write");
  Wait(&members_[number]);
}

}  // namespace memtally::collect
