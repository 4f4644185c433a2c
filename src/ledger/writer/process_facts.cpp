// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/process_facts.hpp"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include <memtally/version.h>

#include "ledger/writer/text.hpp"

namespace memtally::writer {

namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// "9f2c..." or "9f2c...-..." to 16 bytes; zeros if it is neither.
void ParseId(const char* text, uint8_t (&id)[16]) {
  size_t digits = 0;
  uint8_t bytes[16] = {};
  for (; *text != 0 && *text != '\n' && digits < 32; ++text) {
    if (*text == '-') continue;
    const int digit = HexDigit(*text);
    if (digit < 0) return;
    bytes[digits / 2] = static_cast<uint8_t>((bytes[digits / 2] << 4) | digit);
    ++digits;
  }
  if (digits == 32) memcpy(id, bytes, sizeof(id));
}

void ReadIdFile(const char* path, uint8_t (&id)[16]) {
  char text[64];
  if (ReadSmallFile(path, text, sizeof(text)) > 0) ParseId(text, id);
}

// Field 22 of /proc/self/stat, counted from the end of the command's name, which may contain anything.
uint64_t StartTicks() {
  char stat[1024];
  if (ReadSmallFile("/proc/self/stat", stat, sizeof(stat)) <= 0) return 0;
  const char* at = strrchr(stat, ')');
  for (int field = 2; at != nullptr && field < 22; ++field) at = strchr(at + 1, ' ');
  return at != nullptr ? strtoull(at + 1, nullptr, 10) : 0;
}

uint64_t PidNamespace() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

bool IsHex(const char* text, size_t length) {
  for (size_t i = 0; i < length; ++i) {
    if (HexDigit(text[i]) < 0) return false;
  }
  return true;
}

// A container's identifier is the last run of 64 hexadecimal digits in its cgroup's path (docker, podman, containerd,
// CRI-O).
void FindContainer(const char* cgroup, char (&container)[80]) {
  constexpr size_t kDigits = 64;
  const size_t length = strlen(cgroup);
  for (size_t begin = length < kDigits ? 0 : length - kDigits + 1; length >= kDigits && begin-- > 0;) {
    if (!IsHex(cgroup + begin, kDigits)) continue;
    Text(container, sizeof(container)).Add(cgroup + begin, kDigits);
    return;
  }
}

// ".../kubepods-burstable-pod1234_5678.slice/..." or ".../pod1234-5678/...": the pod's identifier.
void FindPod(const char* cgroup, char (&pod)[80]) {
  const char* kubernetes = strstr(cgroup, "kubepods");
  if (kubernetes == nullptr) return;
  for (const char* at = strstr(kubernetes, "pod"); at != nullptr; at = strstr(at + 1, "pod")) {
    const char* id = at + 3;
    size_t length = strspn(id, "0123456789abcdef-_");
    if (length < 32) continue;
    Text(pod, sizeof(pod)).Add(id, length);
    for (char* c = pod; *c != 0; ++c) {
      if (*c == '_') *c = '-';
    }
    return;
  }
}

void FindJob(const char* cgroup, char (&job)[64]) {
  struct {
    const char* variable;
    const char* scheduler;
  } const schedulers[] = {{"SLURM_JOB_ID", "slurm:"},
                          {"PBS_JOBID", "pbs:"},
                          {"LSB_JOBID", "lsf:"},
                          {"JOB_ID", "sge:"},
                          {"FLUX_JOB_ID", "flux:"}};
  Text out(job, sizeof(job));
  for (const auto& scheduler : schedulers) {
    const char* value = getenv(scheduler.variable);
    if (value == nullptr || *value == 0) continue;
    out.Add(scheduler.scheduler).Add(value);
    return;
  }
  const char* slurm = strstr(cgroup, "/job_");
  if (slurm != nullptr && strstr(cgroup, "slurm") != nullptr) {
    slurm += 5;
    out.Add("slurm:").Add(slurm, strspn(slurm, "0123456789"));
  }
}

// The path of the unified hierarchy ("0::"), or of the first one.
void ReadCgroup(char (&cgroup)[256]) {
  char text[4096];
  if (ReadSmallFile("/proc/self/cgroup", text, sizeof(text)) <= 0) return;
  const char* line = strstr(text, "0::");
  if (line == nullptr || (line != text && line[-1] != '\n')) line = text;
  const char* path = strchr(line, ':');
  if (path != nullptr) path = strchr(path + 1, ':');
  if (path == nullptr) return;
  Text(cgroup, sizeof(cgroup)).Add(path + 1, strcspn(path + 1, "\n"));
}

}  // namespace

long ReadSmallFile(const char* path, char* buffer, size_t bytes) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t done = 0;
  while (done < bytes - 1) {
    const ssize_t got = read(fd, buffer + done, bytes - 1 - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  close(fd);
  buffer[done] = 0;
  return static_cast<long>(done);
}

void MakeRunId(uint8_t (&run_id)[16]) {
  if (getrandom(run_id, sizeof(run_id), GRND_NONBLOCK) == sizeof(run_id)) return;
  // Early at boot: unlikely to repeat is then enough, since pid and start time belong to the key.
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const uint64_t words[2] = {
      static_cast<uint64_t>(now.tv_nsec) * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(now.tv_sec),
      static_cast<uint64_t>(getpid()) * 0xd6e8feb86659fd93u ^ reinterpret_cast<uintptr_t>(&now)};
  memcpy(run_id, words, sizeof(run_id));
}

void FillIdentity(memtally_ledger_header* header) {
  ReadIdFile("/proc/sys/kernel/random/boot_id", header->boot_id);
  ReadIdFile("/etc/machine-id", header->machine_id);
  header->pid = static_cast<uint32_t>(getpid());
  header->uid = geteuid();
  header->gid = getegid();
  header->parent_pid = static_cast<uint32_t>(getppid());
  header->pid_namespace = PidNamespace();
  header->process_start_ticks = StartTicks();
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  header->created_realtime_ns = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
  // The process's name is its main thread's, not that of the thread that happens to be first.
  char comm[32];
  if (ReadSmallFile("/proc/self/comm", comm, sizeof(comm)) > 0) {
    comm[strcspn(comm, "\n")] = 0;
    CopyField(header->comm, comm);
  } else {
    prctl(PR_GET_NAME, header->comm);
  }
  const ssize_t length = readlink("/proc/self/exe", header->executable, sizeof(header->executable) - 1);
  header->executable[length > 0 ? length : 0] = 0;
  utsname names{};
  if (uname(&names) == 0) CopyField(header->host_name, names.nodename);
  CopyField(header->tracker_version, "memtally " MEMTALLY_VERSION);
  ReadCgroup(header->cgroup);
  FindContainer(header->cgroup, header->container);
  FindPod(header->cgroup, header->pod);
  FindJob(header->cgroup, header->job);
}

}  // namespace memtally::writer
