// SPDX-License-Identifier: Apache-2.0
#include "track/hooks/ttmetal/programs.hpp"

#include <cstdlib>
#include <cstring>

#include "ledger/writer/text.hpp"
#include "track/hooks/ttmetal/functions.hpp"
#include "track/hooks/ttmetal/locks.hpp"

namespace memtally::track::ttmetal {

namespace {

struct Held {
  Held* next;
  const void* device;
  memtally_device chip;
  uint32_t kind;
  uint64_t pass;
  uint64_t id;
};

struct Program {
  Program* next;
  const void* object;
  uint64_t group;  // 0: not named yet
  Held* held;
  char kernels[80];
};

constexpr uint32_t kBuckets = 4096;
// Groups of programs, apart from those of buffers and of the program's own.
constexpr uint64_t kProgramGroup = uint64_t{0x7474'7067} << 32;

Program* buckets[kBuckets];
uint64_t last_id;
uint64_t last_group;

Program** PlaceOf(const void* object) {
  const uint64_t mixed = (reinterpret_cast<uintptr_t>(object) >> 4) * 0x9e37'79b9'7f4a'7c15;
  Program** place = &buckets[mixed >> 52];
  while (*place != nullptr && (*place)->object != object) place = &(*place)->next;
  return place;
}

Program* FindOrMake(const void* object) {
  Program** place = PlaceOf(object);
  if (*place == nullptr) {
    auto* program = static_cast<Program*>(calloc(1, sizeof(Program)));
    if (program == nullptr) return nullptr;
    program->object = object;
    *place = program;
  }
  return *place;
}

// Takes from the program what `matches`, and reports it as freed.
template <typename Condition>
void Free(Program& program, bool report, Condition matches) {
  for (Held** at = &program.held; *at != nullptr;) {
    Held* held = *at;
    if (!matches(*held)) {
      at = &held->next;
      continue;
    }
    *at = held->next;
    if (report) memtally_free(held->chip, held->kind, held->id);
    free(held);
  }
}

// "program 12: reader, writer, matmul [0-0..7-7]"
void Name(Program& program, const CoreRange& range) {
  program.group = kProgramGroup | ++last_group;
  auto* number = RealAs<uint64_t(const void*)>(Function::kProgramId);
  char line[160];
  writer::Text text(line, sizeof(line));
  text.Add("program ").Number(number != nullptr ? number(program.object) : last_group);
  if (program.kernels[0] != 0) text.Add(": ").Add(program.kernels);
  text.Add(" [").Number(range.x0).Add("-").Number(range.y0).Add("..").Number(range.x1).Add("-").Number(range.y1).Add(
      "]");
  memtally_name_group(program.group, line);
}

}  // namespace

void AddKernelName(const void* object, const char* name, uint64_t length) {
  const Lock lock(LockName::kPrograms);
  Program* program = FindOrMake(object);
  if (program == nullptr || length == 0) return;
  const size_t used = strlen(program->kernels);
  const size_t extra = used == 0 ? 0 : 2;
  if (used + extra + length + 1 > sizeof(program->kernels)) return;
  if (extra != 0) memcpy(program->kernels + used, ", ", extra);
  memcpy(program->kernels + used + extra, name, length);
}

void DropBuffers(const ProgramScope& scope) {
  const Lock lock(LockName::kPrograms);
  Program* program = *PlaceOf(scope.program);
  if (program == nullptr) return;
  Free(*program, true, [&](const Held& held) { return held.device == scope.device && held.kind == scope.kind; });
}

void AddBuffer(const ProgramScope& scope, const Device& device, uint64_t address, uint64_t bytes, uint64_t cores,
               const CoreRange& range) {
  const Lock lock(LockName::kPrograms);
  Program* program = FindOrMake(scope.program);
  if (program == nullptr) return;
  if (program->group == 0) Name(*program, range);
  Free(*program, true, [&](const Held& held) {
    return held.device == scope.device && held.kind == scope.kind && held.pass != scope.pass;
  });
  for (uint32_t i = 0; i < device.chip_count; ++i) {
    auto* held = static_cast<Held*>(calloc(1, sizeof(Held)));
    if (held == nullptr) return;
    held->device = scope.device;
    held->chip = HandleOf(device.chips[i]);
    held->kind = scope.kind;
    held->pass = scope.pass;
    held->id = ++last_id;
    held->next = program->held;
    program->held = held;
    memtally_buffer buffer{};
    buffer.size = sizeof(buffer);
    buffer.device = held->chip;
    buffer.kind = scope.kind;
    buffer.id = held->id;
    buffer.address = address;
    buffer.bytes_requested = bytes * cores;
    buffer.bytes_per_bank = bytes;
    buffer.group = program->group;
    memtally_alloc_buffer(&buffer);
  }
}

uint64_t GroupOf(const void* object) {
  const Lock lock(LockName::kPrograms);
  const Program* program = *PlaceOf(object);
  return program == nullptr ? 0 : program->group;
}

void DropProgram(const void* object) {
  const Lock lock(LockName::kPrograms);
  Program** place = PlaceOf(object);
  Program* program = *place;
  if (program == nullptr) return;
  *place = program->next;
  Free(*program, true, [](const Held& /*held*/) { return true; });
  if (program->group != 0) memtally_forget_group(program->group);
  free(program);
}

void ForgetChip(memtally_device chip) {
  const Lock lock(LockName::kPrograms);
  for (Program* program : buckets) {
    for (; program != nullptr; program = program->next) {
      Free(*program, false, [chip](const Held& held) { return held.chip == chip; });
    }
  }
}

}  // namespace memtally::track::ttmetal
