// SPDX-License-Identifier: Apache-2.0
//
// The snippets of the performance guide whose interface this library follows, each as it stands there, in the
// declarations that it leaves out.
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/channel.hpp>

using namespace memtally;

namespace {

TEST(Guide, ChannelModeSelection) {
  const int num_workers = 3;
  // Optimal: Use SPSC when possible
  auto channel = create_channel("memory://fast", 1024 * 1024, ChannelMode::SPSC);

  // Alternative to MPMC: Multiple SPSC channels
  std::vector<ChannelPtr> channels;
  for (int i = 0; i < num_workers; ++i) {
    channels.push_back(create_channel("memory://worker" + std::to_string(i), 1024 * 1024, ChannelMode::SPSC));
  }
  EXPECT_EQ(channel->mode(), ChannelMode::SPSC);
  EXPECT_EQ(channels.size(), 3u);
  EXPECT_NE(channels[0], channels[1]);
}

TEST(Guide, BufferSizes) {
  // Small buffers (< 64KB): Good for low-latency, small messages
  auto low_latency = create_channel("memory://fast", 64 * 1024);

  // Medium buffers (64KB - 1MB): Balanced performance
  auto balanced = create_channel("memory://balanced", 256 * 1024);

  // Large buffers (> 1MB): High-throughput, batch processing
  auto high_throughput = create_channel("memory://batch", 16 * 1024 * 1024);

  EXPECT_EQ(low_latency->capacity(), 65536u);
  EXPECT_EQ(balanced->capacity(), 262144u);
  EXPECT_EQ(high_throughput->capacity(), 16777216u);
}

void set_thread_affinity(int cpu_id) {
  cpu_set_t cpuset;
  CPU_ZERO(&cpuset);
  CPU_SET(static_cast<size_t>(cpu_id), &cpuset);

  pthread_t thread = pthread_self();
  pthread_setaffinity_np(thread, sizeof(cpu_set_t), &cpuset);
}

TEST(Guide, CpuAffinity) {
  auto channel = create_channel("memory://guide-affinity", 64 * 1024);
  int received = 0;
  // Producer on CPU 0, Consumer on CPU 1
  std::thread producer([&channel]() {
    set_thread_affinity(0);
    // Producer code
    channel->send(42);
  });

  std::thread consumer([&channel, &received]() {
    set_thread_affinity(1);
    // Consumer code
    received = channel->receive<int>().value_or(0);
  });
  producer.join();
  consumer.join();
  EXPECT_EQ(received, 42);
}

TEST(Guide, CompressionIsRefusedByName) {
  compression::CompressionConfig config;

  // High-speed network, CPU-bound: No compression
  config.type = compression::CompressionType::None;

  // Slow network, spare CPU: LZ4
  config.type = compression::CompressionType::LZ4;
  config.level = 1;  // Fast compression

  // Very slow network, lots of spare CPU: Zstd
  config.type = compression::CompressionType::Zstd;
  config.level = 3;  // Balanced

  // Only compress large messages
  config.min_size_threshold = 1024;  // Don't compress < 1KB

  const auto snippet = [&] {
    auto channel =
        create_channel("tcp://remote:8080", 1024 * 1024, ChannelMode::SPSC, ChannelType::MultiType, false, config);
  };
  try {
    snippet();
    FAIL() << "tcp is not there yet";
  } catch (const ChannelError& error) {
    EXPECT_NE(std::string(error.what()).find("tcp"), std::string::npos) << error.what();
  }
  try {
    create_channel("memory://guide-codec", 65536, ChannelMode::SPSC, ChannelType::MultiType, false, config);
    FAIL() << "codecs are not there yet";
  } catch (const ChannelError& error) {
    EXPECT_NE(std::string(error.what()).find("Zstd"), std::string::npos) << error.what();
  }
}

TEST(Guide, Metrics) {
  // Enable metrics during channel creation
  auto channel = create_channel("memory://monitored", 1024 * 1024, ChannelMode::SPSC, ChannelType::MultiType,
                                true);  // Enable metrics
  for (int i = 0; i < 10; ++i) channel->send(i);
  const double elapsed_seconds = 1;
  std::atomic<bool> measured{false};

  // Monitor performance
  std::thread monitor([&channel, &measured, elapsed_seconds]() {
    while (!channel->is_stopped()) {
      auto metrics = channel->get_metrics();

      double msg_rate = static_cast<double>(metrics.messages_sent) / elapsed_seconds;
      double throughput_mb = static_cast<double>(metrics.bytes_sent) / (1024.0 * 1024.0 * elapsed_seconds);

      std::cout << "Message rate: " << msg_rate << " msg/s, "
                << "Throughput: " << throughput_mb << " MB/s" << std::endl;
      EXPECT_EQ(metrics.messages_sent, 10u);
      EXPECT_EQ(metrics.bytes_sent, 40u);
      measured = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  while (!measured) std::this_thread::yield();
  channel->stop();
  monitor.join();
  channel->reset_metrics();
  EXPECT_EQ(channel->get_metrics().messages_sent, 0u);
}

struct SensorData {
  float values[16];
  uint64_t timestamp;
  uint32_t sensor_id;
  uint32_t flags;
};  // 88 bytes, fits in cache line

// Better: Batched for throughput
struct SensorBatch {
  static constexpr size_t BATCH_SIZE = 64;
  SensorData data[BATCH_SIZE];
  uint32_t count;
};

TEST(Guide, MessageDesign) {
  auto channel = create_channel("memory://guide-sensors", 64 * 1024);
  SensorBatch batch{};
  batch.count = 3;
  batch.data[63].sensor_id = 17;
  EXPECT_EQ(channel->send(batch), Status::Ok);
  const auto received = channel->receive<SensorBatch>();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->data[63].sensor_id, 17u);
}

TEST(Guide, AccessPatterns) {
  auto channel = create_channel("memory://guide-batches", 64 * 1024);
  const size_t BATCH_SIZE = 8;
  for (int i = 0; i < 5; ++i) {
    FloatVector msg(*channel, 3);
    ASSERT_TRUE(msg.is_valid());
    for (float& value : msg) value = static_cast<float>(i);
    channel->send(msg);
  }
  float sum = 0;
  const auto process = [&sum](FloatVector& msg) { sum += msg[0] + msg[1] + msg[2]; };

  // Process messages in batches
  std::vector<FloatVector> batch;
  batch.reserve(BATCH_SIZE);

  // Collect batch
  while (batch.size() < BATCH_SIZE) {
    auto msg = channel->receive<FloatVector>(std::chrono::milliseconds(1));
    if (msg) {
      batch.push_back(std::move(*msg));
    } else {
      break;
    }
  }

  // Process batch efficiently
  for (auto& msg : batch) {
    process(msg);
  }
  EXPECT_EQ(batch.size(), 5u);
  EXPECT_EQ(sum, 3 * (0 + 1 + 2 + 3 + 4));
}

TEST(Guide, ErrorHandling) {
  ChannelOptions options;
  options.bytes = 4096;
  options.when_full = WhenFull::Fail;
  auto channel = create_channel("memory://guide-backpressure", options);
  std::thread consumer([&] {
    while (auto msg = channel->receive<FloatVector>()) {
      if ((*msg)[0] == 999) break;
    }
  });
  int i = 0;
  const auto fill_message = [&](FloatVector& msg) { msg[0] = static_cast<float>(i); };

  // Good: Handle backpressure
  while (true) {
    FloatVector msg(*channel);
    if (!msg.is_valid()) {
      // Channel full, backoff
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      continue;
    }

    // Fill and send message
    fill_message(msg);
    channel->send(msg);
    if (++i == 1000) break;
  }
  consumer.join();
}

// Benchmark template
template <typename MessageType>
void benchmark_channel(Channel& channel, size_t num_messages) {
  auto start = std::chrono::high_resolution_clock::now();

  // Producer
  std::thread producer([&]() {
    for (size_t i = 0; i < num_messages; ++i) {
      MessageType msg(channel);
      // Fill message
      channel.send(msg);
    }
  });

  // Consumer
  size_t received = 0;
  while (received < num_messages) {
    auto msg = channel.receive<MessageType>();
    if (msg) {
      received++;
    }
  }

  producer.join();

  auto end = std::chrono::high_resolution_clock::now();
  auto duration = std::chrono::duration_cast<std::chrono::microseconds>(end - start);

  double messages_per_sec = static_cast<double>(num_messages) * 1000000.0 / static_cast<double>(duration.count());
  double latency_us = static_cast<double>(duration.count()) / (double)num_messages;

  std::cout << "Throughput: " << messages_per_sec << " msg/s" << std::endl;
  std::cout << "Average latency: " << latency_us << " μs" << std::endl;
}

TEST(Guide, TestingPerformance) {
  auto channel = create_channel("memory://guide-benchmark", 64 * 1024);
  benchmark_channel<FloatVector>(*channel, 20'000);
  benchmark_channel<ByteVector>(*channel, 20'000);
}

}  // namespace
