// SPDX-License-Identifier: Apache-2.0
#include "tools/run/child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/fd.hpp"
#include "base/proc.hpp"

namespace memtally::tools {
namespace {

// Taken by Wait.  The first two come from the terminal and reach the child by themselves; here they mean nothing.
constexpr int kTaken[] = {SIGINT, SIGQUIT, SIGCHLD, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP};

// Those of kTaken that are not ignored from outside (nohup): ignored signals stay ignored, here and in the child.
sigset_t TakenSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kTaken) {
    struct sigaction action {};
    if (signal != SIGCHLD && sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) continue;
    sigaddset(&set, signal);
  }
  return set;
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

int Child::Start(const ChildCommand& command) {
  // All that needs memory, before the fork.
  const std::vector<char*> arguments = Pointers(command.arguments);
  const std::vector<char*> environment = Pointers(command.environment);
  std::vector<std::string> for_shell = {"/bin/sh", command.path};
  if (command.arguments.size() > 1) {
    for_shell.insert(for_shell.end(), command.arguments.begin() + 1, command.arguments.end());
  }
  const std::vector<char*> shell_arguments = Pointers(for_shell);

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  base::Fd from_child(ends[0]);
  base::Fd to_parent(ends[1]);

  // A SIGCHLD that is ignored would take the child's status away; the child itself inherits what was.
  struct sigaction child_before {};
  struct sigaction child_default {};
  child_default.sa_handler = SIG_DFL;
  const sigset_t taken = TakenSignals();
  sigset_t mask_before;
  if (sigaction(SIGCHLD, &child_default, &child_before) != 0) return errno;
  if (const int error = pthread_sigmask(SIG_BLOCK, &taken, &mask_before); error != 0) return error;

  started_ns_ = base::MonotonicNs();
  pid_ = fork();
  if (pid_ < 0) return errno;
  if (pid_ == 0) {
    sigaction(SIGCHLD, &child_before, nullptr);
    sigprocmask(SIG_SETMASK, &mask_before, nullptr);
    execve(command.path.c_str(), arguments.data(), environment.data());
    if (errno == ENOEXEC) execve("/bin/sh", shell_arguments.data(), environment.data());
    const int error = errno;
    [[maybe_unused]] const ssize_t told = write(to_parent.get(), &error, sizeof(error));
    _exit(127);
  }
  to_parent.reset();
  int error = 0;
  ssize_t got = 0;
  do {
    got = read(from_child.get(), &error, sizeof(error));
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(sizeof(error))) return 0;
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  return error;
}

bool Child::Reap() {
  for (;;) {
    int status = 0;
    const pid_t got = waitpid(pid_, &status, WNOHANG | WUNTRACED | WCONTINUED);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) return false;
    if (got < 0) {  // nothing to wait for: somebody took the status away
      status_ = 0;
      return true;
    }
    if (WIFSTOPPED(status)) {
      stopped_ = true;
      StopWithChild(WSTOPSIG(status));
    } else if (WIFCONTINUED(status)) {
      stopped_ = false;
    } else {
      status_ = status;
      return true;
    }
  }
}

// The shell that waits for this process is to see the job stop.
void Child::StopWithChild(int signal) {
  if (signal == SIGSTOP) {
    kill(getpid(), SIGSTOP);
    return;
  }
  if (signal != SIGTSTP && signal != SIGTTIN && signal != SIGTTOU) return;
  sigset_t one;
  sigset_t before;
  sigemptyset(&one);
  sigaddset(&one, signal);
  kill(getpid(), signal);
  pthread_sigmask(SIG_UNBLOCK, &one, &before);  // stops here
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Child::HandOn(int signal, int code, pid_t sender) {
  // What the terminal sends goes to the whole group, and what a process of the group sends is taken to do so, too
  // (kill 0 in a script): the child has it already.
  if (code > 0 || (sender > 0 && getpgid(sender) == getpgrp())) return;
  if (kill(pid_, signal) == 0) forwarded_ = signal;
}

int Child::Wait() {
  const sigset_t taken = TakenSignals();
  for (;;) {
    if (Reap()) return status_;
    siginfo_t info{};
    const int signal = sigwaitinfo(&taken, &info);
    switch (signal) {
      case SIGCONT:
        // After a stop of the whole job the shell continues the whole job; if only this process was meant, the child
        // is still stopped.
        if (Reap()) return status_;
        if (stopped_) kill(pid_, SIGCONT);
        break;
      case SIGTERM:
      case SIGHUP:
      case SIGUSR1:
      case SIGUSR2:
      case SIGWINCH:
      case SIGTSTP:
        HandOn(signal, info.si_code, info.si_pid);
        break;
      default:
        break;  // SIGCHLD; and what the child gets by itself
    }
  }
}

int ExitCodeOf(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace memtally::tools
