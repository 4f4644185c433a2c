// SPDX-License-Identifier: Apache-2.0
//
// The original client as it was when it lost messages, written anew from the description of its defect: sends that do
// not wait, a failure that is taken for the end of the connection, and parts of messages that are not noticed.  For
// tests alone.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include <allocation_client.hpp>

#include <memtally/abi/legacy_protocol.h>

namespace tt::tt_metal {
namespace {

std::mutex lock;
int socket_fd = -1;
bool connected = false;

void Connect() {
  if (socket_fd >= 0) close(socket_fd);
  socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const char* bytes = getenv("TT_ALLOC_SNDBUF");
  if (bytes != nullptr) {
    const int size = atoi(bytes);
    setsockopt(socket_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, getenv("TT_ALLOC_SOCKET"), sizeof(address.sun_path) - 1);
  connected = connect(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

void Send(uint8_t type, int device, uint64_t size, uint8_t buffer_type, uint64_t id) {
  const std::lock_guard<std::mutex> guard(lock);
  if (!connected) Connect();
  memtally_legacy_message_144 message{};
  message.head.type = type;
  message.head.device_id = device;
  message.head.size = size;
  message.head.buffer_type = buffer_type;
  message.head.process_id = getpid();
  message.head.buffer_id = id;
  const ssize_t sent = send(socket_fd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) connected = false;
}

}  // namespace

void AllocationClient::report_allocation(int device_id, uint64_t size, uint8_t buffer_type, uint64_t buffer_id) {
  Send(MEMTALLY_LEGACY_ALLOC, device_id, size, buffer_type, buffer_id);
}
void AllocationClient::report_deallocation(int device_id, uint64_t buffer_id) {
  Send(MEMTALLY_LEGACY_FREE, device_id, 0, 0, buffer_id);
}
void AllocationClient::report_cb_allocation(int device_id, uint64_t size, uint64_t cb_id) {
  Send(MEMTALLY_LEGACY_CB_ALLOC, device_id, size, 0, cb_id);
}
void AllocationClient::report_cb_deallocation(int device_id, uint64_t size, uint64_t cb_id) {
  Send(MEMTALLY_LEGACY_CB_FREE, device_id, size, 0, cb_id);
}
void AllocationClient::report_kernel_load(int device_id, uint64_t size, uint64_t kernel_id, uint8_t kernel_type) {
  Send(MEMTALLY_LEGACY_KERNEL_LOAD, device_id, size, kernel_type, kernel_id);
}
void AllocationClient::report_kernel_unload(int device_id, uint64_t size, uint64_t kernel_id) {
  Send(MEMTALLY_LEGACY_KERNEL_UNLOAD, device_id, size, 0, kernel_id);
}
bool AllocationClient::is_enabled() { return true; }
void AllocationClient::set_enabled(bool) {}

}  // namespace tt::tt_metal
