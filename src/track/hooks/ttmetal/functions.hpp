// SPDX-License-Identifier: Apache-2.0
//
// The functions of TT-Metal that the hook stands in front of or calls, in one table: what each is, whether the hook can
// do without it, and what is lost then.  Published versions differ in which they export.
//
// A row: identifier, use, need, the row that can take its place (or kNone), mangled name, name for people, what is
// lost.
#pragma once

#include <cstdint>

// Mangled names of those that the hook stands in front of: the names of its own symbols.
#define MEMTALLY_TT_ALLOCATE "_ZN2tt8tt_metal13AllocatorImpl15allocate_bufferEPNS0_6BufferE"
#define MEMTALLY_TT_DEALLOCATE "_ZN2tt8tt_metal13AllocatorImpl17deallocate_bufferEPNS0_6BufferE"
#define MEMTALLY_TT_ALLOCATOR_C1 "_ZN2tt8tt_metal13AllocatorImplC1ERKNS0_15AllocatorConfigE"
#define MEMTALLY_TT_ALLOCATOR_C2 "_ZN2tt8tt_metal13AllocatorImplC2ERKNS0_15AllocatorConfigE"
#define MEMTALLY_TT_TRACK_ALLOCATE "_ZN2tt8tt_metal12GraphTracker14track_allocateEPKNS0_6BufferE"
#define MEMTALLY_TT_TRACK_DEALLOCATE "_ZN2tt8tt_metal12GraphTracker16track_deallocateEPNS0_6BufferE"
#define MEMTALLY_TT_TRACK_ALLOCATE_CB \
  "_ZN2tt8tt_metal12GraphTracker17track_allocate_cbERKNS0_12CoreRangeSetEmmbPKNS0_7IDeviceE"
#define MEMTALLY_TT_TRACK_DEALLOCATE_CB "_ZN2tt8tt_metal12GraphTracker19track_deallocate_cbEPKNS0_7IDeviceE"
#define MEMTALLY_TT_ALLOCATE_CBS "_ZN2tt8tt_metal6detail11ProgramImpl25allocate_circular_buffersEPKNS0_7IDeviceE"
#define MEMTALLY_TT_DEALLOCATE_CBS "_ZN2tt8tt_metal6detail11ProgramImpl27deallocate_circular_buffersEv"
#define MEMTALLY_TT_ALLOCATE_DFBS "_ZN2tt8tt_metal6detail11ProgramImpl25allocate_dataflow_buffersEPKNS0_7IDeviceE"
#define MEMTALLY_TT_ALLOCATE_SCRATCHPADS "_ZN2tt8tt_metal6detail11ProgramImpl20allocate_scratchpadsEPKNS0_7IDeviceE"
#define MEMTALLY_TT_VALIDATE_CBS "_ZN2tt8tt_metal6detail11ProgramImpl31validate_circular_buffer_regionEPKNS0_7IDeviceE"
#define MEMTALLY_TT_VALIDATE_DFBS "_ZN2tt8tt_metal6detail11ProgramImpl31validate_dataflow_buffer_regionEPKNS0_7IDeviceE"
#define MEMTALLY_TT_MARK_ADDRESS "_ZN2tt8tt_metal6detail11ProgramImpl23CircularBufferAllocator12mark_addressEmmm"
#define MEMTALLY_TT_ADD_KERNEL \
  "_ZN2tt8tt_metal6detail11ProgramImpl10add_kernelERKSt10shared_ptrINS0_6KernelEERKNS0_23HalProgrammableCoreTypeE"
#define MEMTALLY_TT_PROGRAM_D1 "_ZN2tt8tt_metal6detail11ProgramImplD1Ev"
#define MEMTALLY_TT_PROGRAM_D2 "_ZN2tt8tt_metal6detail11ProgramImplD2Ev"
#define MEMTALLY_TT_CLOSE "_ZN2tt8tt_metal11distributed10MeshDevice5closeEv"
#define MEMTALLY_TT_CLOSE_IMPL "_ZN2tt8tt_metal11distributed14MeshDeviceImpl10close_implEPNS1_10MeshDeviceE"
#define MEMTALLY_TT_CLOSE_CHIP "_ZN2tt8tt_metal6Device5closeEv"

// clang-format off
#define MEMTALLY_TT_FUNCTIONS(ROW) \
  ROW(kAllocate, kFront, kRequired, kTrackAllocate, MEMTALLY_TT_ALLOCATE, "AllocatorImpl::allocate_buffer", \
      "failed allocations") \
  ROW(kDeallocate, kFront, kRequired, kTrackDeallocate, MEMTALLY_TT_DEALLOCATE, "AllocatorImpl::deallocate_buffer", "") \
  ROW(kTrackAllocate, kFront, kOptional, kAllocate, MEMTALLY_TT_TRACK_ALLOCATE, "GraphTracker::track_allocate", "") \
  ROW(kTrackDeallocate, kFront, kOptional, kDeallocate, MEMTALLY_TT_TRACK_DEALLOCATE, "GraphTracker::track_deallocate", "") \
  ROW(kAllocatorC1, kFront, kOptional, kAllocatorC2, MEMTALLY_TT_ALLOCATOR_C1, "AllocatorImpl::AllocatorImpl", "") \
  ROW(kAllocatorC2, kFront, kOptional, kAllocatorC1, MEMTALLY_TT_ALLOCATOR_C2, "AllocatorImpl::AllocatorImpl", "") \
  ROW(kTrackAllocateCb, kFront, kOptional, kNone, MEMTALLY_TT_TRACK_ALLOCATE_CB, "GraphTracker::track_allocate_cb", \
      "circular buffers") \
  ROW(kTrackDeallocateCb, kFront, kOptional, kProgramD1, MEMTALLY_TT_TRACK_DEALLOCATE_CB, \
      "GraphTracker::track_deallocate_cb", "the release of circular buffers") \
  ROW(kAllocateCbs, kFront, kOptional, kNone, MEMTALLY_TT_ALLOCATE_CBS, "ProgramImpl::allocate_circular_buffers", \
      "circular buffers") \
  ROW(kDeallocateCbs, kFront, kOptional, kProgramD1, MEMTALLY_TT_DEALLOCATE_CBS, \
      "ProgramImpl::deallocate_circular_buffers", "the release of circular buffers") \
  ROW(kAllocateDfbs, kFront, kOptional, kNone, MEMTALLY_TT_ALLOCATE_DFBS, "ProgramImpl::allocate_dataflow_buffers", \
      "dataflow buffers") \
  ROW(kValidateCbs, kFront, kSilent, kNone, MEMTALLY_TT_VALIDATE_CBS, \
      "ProgramImpl::validate_circular_buffer_region", "clashes of circular buffers") \
  ROW(kValidateDfbs, kFront, kSilent, kNone, MEMTALLY_TT_VALIDATE_DFBS, \
      "ProgramImpl::validate_dataflow_buffer_region", "clashes of dataflow buffers") \
  ROW(kMarkAddress, kFront, kOptional, kNone, MEMTALLY_TT_MARK_ADDRESS, \
      "ProgramImpl::CircularBufferAllocator::mark_address", "dataflow buffers") \
  ROW(kAllocateScratchpads, kFront, kSilent, kNone, MEMTALLY_TT_ALLOCATE_SCRATCHPADS, "ProgramImpl::allocate_scratchpads", \
      "scratchpads") \
  ROW(kAddKernel, kFront, kOptional, kNone, MEMTALLY_TT_ADD_KERNEL, "ProgramImpl::add_kernel", "names of programs") \
  ROW(kProgramD1, kFront, kOptional, kProgramD2, MEMTALLY_TT_PROGRAM_D1, "ProgramImpl::~ProgramImpl", \
      "circular and dataflow buffers") \
  ROW(kProgramD2, kFront, kOptional, kProgramD1, MEMTALLY_TT_PROGRAM_D2, "ProgramImpl::~ProgramImpl", \
      "circular and dataflow buffers") \
  ROW(kClose, kFront, kOptional, kCloseImpl, MEMTALLY_TT_CLOSE, "MeshDevice::close", "the closing of devices") \
  ROW(kCloseImpl, kFront, kOptional, kClose, MEMTALLY_TT_CLOSE_IMPL, "MeshDeviceImpl::close_impl", "") \
  ROW(kCloseChip, kFront, kOptional, kNone, MEMTALLY_TT_CLOSE_CHIP, "Device::close", "the closing of single devices") \
  ROW(kBufferAddress, kCall, kRequired, kAllocate, "_ZNK2tt8tt_metal6Buffer7addressEv", "Buffer::address", "") \
  ROW(kBufferPerBank, kCall, kRequired, kNone, "_ZNK2tt8tt_metal6Buffer21aligned_size_per_bankEv", \
      "Buffer::aligned_size_per_bank", "") \
  ROW(kBufferSize, kCall, kOptional, kBufferPages, "_ZNK2tt8tt_metal6Buffer4sizeEv", "Buffer::size", \
      "requested sizes") \
  ROW(kBufferPages, kCall, kOptional, kBufferSize, "_ZNK2tt8tt_metal6Buffer9num_pagesEv", "Buffer::num_pages", "") \
  ROW(kBufferPageSize, kCall, kOptional, kBufferSize, "_ZNK2tt8tt_metal6Buffer9page_sizeEv", "Buffer::page_size", "") \
  ROW(kBufferType, kCall, kRequired, kBufferIsDram, "_ZNK2tt8tt_metal6Buffer11buffer_typeEv", "Buffer::buffer_type", "") \
  ROW(kBufferIsDram, kCall, kOptional, kBufferType, "_ZNK2tt8tt_metal6Buffer7is_dramEv", "Buffer::is_dram", "") \
  ROW(kBufferIsL1, kCall, kOptional, kBufferType, "_ZNK2tt8tt_metal6Buffer5is_l1Ev", "Buffer::is_l1", "L1") \
  ROW(kBufferIsTrace, kCall, kOptional, kBufferType, "_ZNK2tt8tt_metal6Buffer8is_traceEv", "Buffer::is_trace", \
      "the difference between DRAM and TRACE, L1 and L1_SMALL") \
  ROW(kBufferDevice, kCall, kOptional, kMeshTable, "_ZNK2tt8tt_metal6Buffer6deviceEv", "Buffer::device", "") \
  ROW(kBufferUniqueId, kCall, kSilent, kNone, "_ZNK2tt8tt_metal6Buffer9unique_idEv", "Buffer::unique_id", "") \
  ROW(kBufferAllocator, kCall, kOptional, kNone, "_ZNK2tt8tt_metal6Buffer9allocatorEv", "Buffer::allocator", \
      "capacities and reserved sizes") \
  ROW(kBankSize, kCall, kOptional, kNone, "_ZNK2tt8tt_metal9Allocator13get_bank_sizeERKNS0_10BufferTypeE", \
      "Allocator::get_bank_size", "capacities") \
  ROW(kBanks, kCall, kOptional, kNone, "_ZNK2tt8tt_metal9Allocator13get_num_banksERKNS0_10BufferTypeE", \
      "Allocator::get_num_banks", "capacities and reserved sizes") \
  ROW(kAlignment, kCall, kOptional, kNone, "_ZNK2tt8tt_metal9Allocator13get_alignmentENS0_10BufferTypeE", \
      "Allocator::get_alignment", "the rounding of sizes") \
  ROW(kMeshTable, kCall, kRequired, kNone, "_ZTVN2tt8tt_metal11distributed10MeshDeviceE", "MeshDevice's virtual table", "") \
  ROW(kDeviceTable, kCall, kOptional, kNone, "_ZTVN2tt8tt_metal6DeviceE", "Device's virtual table", \
      "circular buffers, and buffers of single devices") \
  ROW(kMeshChips, kCall, kRequired, kNone, "_ZNK2tt8tt_metal11distributed10MeshDevice14get_device_idsEv", \
      "MeshDevice::get_device_ids", "") \
  ROW(kMeshId, kCall, kOptional, kNone, "_ZNK2tt8tt_metal11distributed10MeshDevice2idEv", "MeshDevice::id", \
      "circular buffers, and buffers of single devices") \
  ROW(kMeshArchitecture, kCall, kOptional, kNone, "_ZNK2tt8tt_metal11distributed10MeshDevice4archEv", \
      "MeshDevice::arch", "the devices' architecture") \
  ROW(kMeshDramChannels, kCall, kOptional, kNone, "_ZNK2tt8tt_metal11distributed10MeshDevice17num_dram_channelsEv", \
      "MeshDevice::num_dram_channels", "the devices' physical memory") \
  ROW(kMeshDramChannelSize, kCall, kOptional, kNone, \
      "_ZNK2tt8tt_metal11distributed10MeshDevice21dram_size_per_channelEv", "MeshDevice::dram_size_per_channel", \
      "the devices' physical memory") \
  ROW(kContextId, kCall, kOptional, kNone, "_ZN2tt8tt_metal18extract_context_idEPKNS0_7IDeviceE", \
      "extract_context_id", "the chips' unique ids") \
  ROW(kContextExists, kCall, kOptional, kNone, \
      "_ZN2tt8tt_metal12MetalContext15instance_existsEN4ttsl10StrongTypeIiNS0_12ContextIdTagEEE", \
      "MetalContext::instance_exists", "the chips' unique ids") \
  ROW(kContext, kCall, kOptional, kNone, \
      "_ZN2tt8tt_metal12MetalContext8instanceEN4ttsl10StrongTypeIiNS0_12ContextIdTagEEE", "MetalContext::instance", \
      "the chips' unique ids") \
  ROW(kCluster, kCall, kOptional, kNone, "_ZN2tt8tt_metal12MetalContext11get_clusterEv", "MetalContext::get_cluster", \
      "the chips' unique ids") \
  ROW(kClusterDescription, kCall, kOptional, kNone, "_ZNK2tt7Cluster16get_cluster_descEv", \
      "Cluster::get_cluster_desc", "the chips' unique ids") \
  ROW(kChipIds, kCall, kOptional, kNone, "_ZNK2tt3umd17ClusterDescriptor19get_chip_unique_idsEv", \
      "ClusterDescriptor::get_chip_unique_ids", "the chips' unique ids") \
  ROW(kChipIdsAuthentic, kCall, kSilent, kNone, "_ZNK2tt3umd17ClusterDescriptor29has_authentic_chip_unique_idsEv", \
      "ClusterDescriptor::has_authentic_chip_unique_ids", "") \
  ROW(kProgramId, kCall, kOptional, kNone, "_ZNK2tt8tt_metal6detail11ProgramImpl6get_idEv", "ProgramImpl::get_id", \
      "numbers of programs") \
  ROW(kKernelName, kCall, kOptional, kNone, "_ZNK2tt8tt_metal6Kernel4nameB5cxx11Ev", "Kernel::name", \
      "names of programs") \
  ROW(kOperatorDelete, kCall, kRequired, kNone, "_ZdlPv", "operator delete", "")
// clang-format on

namespace memtally::track::ttmetal {

// Names a row of the table.
enum class Function : uint8_t {
#define MEMTALLY_TT_ROW(identifier, ...) identifier,
  MEMTALLY_TT_FUNCTIONS(MEMTALLY_TT_ROW)
#undef MEMTALLY_TT_ROW
      kNone  // also their number
};

enum class Use : uint8_t {
  kFront,  // the hook has a function of this name, which calls the real one
  kCall    // the hook calls it
};

enum class Need : uint8_t {
  kRequired,  // without it, or the one that takes its place, nothing is reported
  kOptional,  // said once if it is missing
  kSilent     // only some versions have it
};

struct FunctionRow {
  Use use;
  Need need;
  Function instead;    // that can take its place, or kNone
  const char* symbol;  // mangled
  const char* name;
  const char* lost;  // what is not reported without it
};

inline constexpr auto kFunctionCount = static_cast<unsigned>(Function::kNone);

// The row of a function; `function` is not kNone.
const FunctionRow& RowOf(Function function);

// The real function of that name in the process, or null.  The first call looks for all of them, and says once on
// standard error what is missing.  Any thread.
void* Real(Function function);

// Whether the process has what the hook cannot do without and memtally records.  If not, the hook only passes calls on.
bool Reports();

// Says once that the function, although it is there, is not the one that the hook knows, and has it found no more.
void Disown(Function function);

// The real function, with its type.  Null if it is missing.
template <typename Signature>
Signature* RealAs(Function function) {
  return reinterpret_cast<Signature*>(Real(function));
}

}  // namespace memtally::track::ttmetal
