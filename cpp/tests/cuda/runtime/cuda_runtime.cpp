// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "cuda_runtime.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

// What the scheduler itself reads and writes is none of the sources' business.
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define UNWATCHED __attribute__((no_sanitize("address")))
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define UNWATCHED __attribute__((no_sanitize("thread")))
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
struct Unwatched {
  Unwatched() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unwatched() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
};
#else
struct Unwatched {};
#endif
#ifndef UNWATCHED
#define UNWATCHED
#endif

dim3 threadIdx;
dim3 blockIdx;
dim3 blockDim;
dim3 gridDim;

struct CUstream_st {
  struct Operation {
    std::function<void()> run;
    std::uint64_t number;
  };
  std::deque<Operation> queue;
};

struct CUmemPoolHandle_st {
  std::multimap<std::size_t, void*> kept;  // by their size
  std::uint64_t kept_bytes = 0;
  std::uint64_t used_bytes = 0;

  CUmemPoolHandle_st() = default;
  CUmemPoolHandle_st(const CUmemPoolHandle_st&) = delete;
  CUmemPoolHandle_st& operator=(const CUmemPoolHandle_st&) = delete;
  CUmemPoolHandle_st(CUmemPoolHandle_st&&) = delete;
  CUmemPoolHandle_st& operator=(CUmemPoolHandle_st&&) = delete;
  ~CUmemPoolHandle_st();
};

struct CUevent_st {
  CUstream_st* stream = nullptr;
  std::uint64_t number = 0;
};

namespace fastntk::fake {

std::size_t memory_limit = std::numeric_limits<std::size_t>::max();
std::size_t live_memory = 0;
std::size_t kept_memory = 0;
std::uint64_t kept_at_most = 0;
bool pools_supported = true;
std::size_t live_objects = 0;
int gpus = 1;
std::string failing_call;
int failing_status = 0;
std::size_t calls_to_spare = 0;

int injected_failure(const char* call) {
  if (failing_call != call) return 0;
  if (calls_to_spare > 0) {
    --calls_to_spare;
    return 0;
  }
  failing_call.clear();
  return failing_status;
}

void die(const std::string& message) {
  std::fprintf(stderr, "CUDA on the processor: %s\n", message.c_str());
  std::fflush(stderr);
  std::abort();
}

namespace {

struct Allocation {
  std::size_t bytes;
  cudaMemPool_t pool;  // or null
  bool there;          // its stream has come to it
};
std::map<std::uintptr_t, Allocation> allocations;        // by their address
std::vector<std::unique_ptr<CUmemPoolHandle_st>> pools;  // for as long as the program runs
int current_gpu = 0;
int device_depth = 0;
std::uint64_t operations = 0;
CUstream_st default_stream;

void set_open([[maybe_unused]] void* p, [[maybe_unused]] std::size_t bytes,
              [[maybe_unused]] bool open) {
#ifdef __SANITIZE_ADDRESS__
  if (open) {
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
  } else {
    ASAN_POISON_MEMORY_REGION(p, bytes);
  }
#endif
}

void close_memory(bool close) {
  for (const auto& [address, allocation] : allocations) {
    set_open(reinterpret_cast<void*>(address), allocation.bytes, !close);
  }
}

void run_until(CUstream_st& stream, std::uint64_t number) {
  while (!stream.queue.empty() && stream.queue.front().number <= number) {
    const auto operation = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (device_depth++ == 0) close_memory(false);
    operation.run();
    if (--device_depth == 0) close_memory(true);
  }
}

void run_all(CUstream_st& stream) { run_until(stream, std::numeric_limits<std::uint64_t>::max()); }

CUstream_st& stream_of(cudaStream_t stream) {
  // These are null, and CUDA's names for the default stream and for that of the thread.
  return reinterpret_cast<std::uintptr_t>(stream) <= 2 ? default_stream : *stream;
}

// These are the threads of a block.
struct Block {
  dim3 index;
  std::vector<std::vector<unsigned char>> shared;  // in the order in which it is declared
};

constexpr std::size_t kStack = std::size_t{128} * 1024;

// This says where to go on. It is GCC's own, because swapcontext asks the kernel twice each time.
struct Place {
  void* words[5] = {};
};

// Threads run on these fibers, which are kept from kernel to kernel.
struct Fiber {
  Place place;
  bool begun = false;
  ucontext_t beginning{};
  std::unique_ptr<char[]> stack{new char[kStack]};
};

struct Thread {
  Block* block = nullptr;
  dim3 index;
  std::size_t shared_declared = 0;
  bool done = false;
  Fiber* fiber = nullptr;   // from its beginning on
  void* watched = nullptr;  // its name for ThreadSanitizer
};

const std::function<void()>* thread_body = nullptr;
Thread* current = nullptr;
std::vector<Thread*> not_begun;  // of the block; the next one last
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle_fibers;
std::vector<Fiber*> used_fibers;  // no two watched threads are to meet on one stack
Place scheduler;
#ifdef __SANITIZE_ADDRESS__
void* scheduler_fake_stack = nullptr;
const void* scheduler_stack = nullptr;
std::size_t scheduler_stack_size = 0;
#endif
#ifdef __SANITIZE_THREAD__
void* scheduler_watched = nullptr;
std::vector<void*> watched;  // slow to make
char beginning;
char end;
#endif

// ThreadSanitizer compares the threads of so many blocks of a launch with each other, in the first
// launches of a kernel with one, two, three and more blocks: what it keeps of each thread, and
// copies at every barrier, grows with their number. All else runs as if it were one thread.
constexpr std::size_t kBlocksCompared = 4;
constexpr int kLaunchesCompared = 4;

__attribute__((noinline)) UNWATCHED void go_to(Place& place) { __builtin_longjmp(place.words, 1); }

// Goes back to the scheduler, until it comes back to this fiber.
UNWATCHED void leave_fiber() {
#ifdef __SANITIZE_ADDRESS__
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, scheduler_stack, scheduler_stack_size);
#endif
#ifdef __SANITIZE_THREAD__
  if (current->watched != nullptr) {
    __tsan_release(current->done ? static_cast<void*>(&end) : current->block);
    __tsan_switch_to_fiber(scheduler_watched, __tsan_switch_to_fiber_no_sync);
  }
#endif
  if (__builtin_setjmp(current->fiber->place.words) == 0) go_to(scheduler);
#ifdef __SANITIZE_THREAD__
  if (current->watched != nullptr) __tsan_acquire(current->block);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack, &scheduler_stack, &scheduler_stack_size);
#endif
}

UNWATCHED void become(Thread& thread) {
  current = &thread;
  threadIdx = thread.index;
  blockIdx = thread.block->index;
}

// The next thread of the block begins on this fiber.
UNWATCHED bool begin_next_thread(Fiber& fiber) {
  if (not_begun.empty()) return false;
  not_begun.back()->fiber = &fiber;
  become(*not_begun.back());
  not_begun.pop_back();
  return true;
}

UNWATCHED void fiber_main() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
  while (true) {
#ifdef __SANITIZE_THREAD__
    if (current->watched != nullptr) __tsan_acquire(&beginning);
#endif
    (*thread_body)();
    current->done = true;
    // To switch takes longer than most threads do.
    if (current->watched == nullptr && begin_next_thread(*current->fiber)) continue;
    leave_fiber();
  }
}

// Apart from loops, whose variables a context could bring back.
__attribute__((noinline)) Fiber* make_fiber() {
  Fiber& fiber = *fibers.emplace_back(std::make_unique<Fiber>());
  getcontext(&fiber.beginning);
  fiber.beginning.uc_stack.ss_sp = fiber.stack.get();
  fiber.beginning.uc_stack.ss_size = kStack;
  fiber.beginning.uc_link = nullptr;
  makecontext(&fiber.beginning, fiber_main, 0);
  return &fiber;
}

// Runs until the fiber comes to a barrier or has nothing to do any more.
UNWATCHED void enter_fiber(Fiber& fiber) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber.stack.get(), kStack);
#endif
#ifdef __SANITIZE_THREAD__
  if (current->watched != nullptr) {
    __tsan_switch_to_fiber(current->watched, __tsan_switch_to_fiber_no_sync);
  }
#endif
  if (__builtin_setjmp(scheduler.words) == 0) {
    if (fiber.begun) go_to(fiber.place);
    fiber.begun = true;
    setcontext(&fiber.beginning);
  }
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#endif
  if (current->done) (current->watched == nullptr ? idle_fibers : used_fibers).push_back(&fiber);
}

dim3 index_of(std::size_t i, dim3 size) {
  return {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
          static_cast<unsigned>(i / size.x / size.y)};
}

std::size_t volume(dim3 size) { return std::size_t{size.x} * size.y * size.z; }

std::mt19937& shuffling() {
  static std::mt19937 bits(20);
  return bits;
}

std::vector<std::size_t> in_any_order(std::size_t count) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), shuffling());
  return order;
}

// Runs all threads of a block up to the next barrier, until they have ended.
UNWATCHED void run_block(std::vector<Thread>& threads) {
  for (const std::size_t t : in_any_order(threads.size())) not_begun.push_back(&threads[t]);
  while (!not_begun.empty()) {
    if (idle_fibers.empty()) idle_fibers.push_back(make_fiber());
    Fiber& fiber = *idle_fibers.back();
    idle_fibers.pop_back();
    begin_next_thread(fiber);
    enter_fiber(fiber);
  }
  while (true) {
    const auto done = std::ranges::count_if(threads, &Thread::done);
    if (done == std::ssize(threads)) return;
    if (done != 0) die("a barrier was not reached by every thread of the block");
    for (const std::size_t t : in_any_order(threads.size())) {
      become(threads[t]);
      enter_fiber(*threads[t].fiber);
    }
  }
}

#ifdef __SANITIZE_THREAD__
// The threads of one more block are told from those of the scheduler and of each other.
void watch(std::vector<Thread>& threads, std::size_t block) {
  if (block == 0) __tsan_release(&beginning);
  scheduler_watched = __tsan_get_current_fiber();
  for (std::size_t t = 0; t < threads.size(); ++t) {
    const std::size_t which = block * threads.size() + t;
    if (which == watched.size()) watched.push_back(__tsan_create_fiber(0));
    threads[t].watched = watched[which];
  }
}
void order_after_watched() {
  __tsan_acquire(&end);
  idle_fibers.insert(idle_fibers.end(), used_fibers.begin(), used_fibers.end());
  used_fibers.clear();
}
#else
void watch(std::vector<Thread>& /*threads*/, std::size_t /*block*/) {}
void order_after_watched() {}
#endif

void run_kernel(const void* kernel, const std::function<void()>& body, dim3 grid, dim3 block_size) {
  static std::map<std::pair<const void*, std::size_t>, int> launches;
  thread_body = &body;
  blockDim = block_size;
  gridDim = grid;
  const std::size_t to_watch = std::min(volume(grid), kBlocksCompared);
  const bool watching = launches[{kernel, to_watch}]++ < kLaunchesCompared;
  std::deque<Block> blocks;  // that are compared, then one at a time
  std::vector<Thread> threads;
  std::size_t begun = 0;
  for (const std::size_t b : in_any_order(volume(grid))) {
    if (begun >= to_watch) {
      order_after_watched();
      blocks.clear();
    }
    Block& block = blocks.emplace_back();
    block.index = index_of(b, grid);
    threads.assign(volume(block_size), {});
    for (std::size_t t = 0; t < threads.size(); ++t) {
      threads[t].block = &block;
      threads[t].index = index_of(t, block_size);
    }
    if (watching && begun < to_watch) watch(threads, begun);
    run_block(threads);
    ++begun;
  }
  order_after_watched();
}

std::size_t room() { return memory_limit - std::min(memory_limit, live_memory + kept_memory); }

void give_up(CUmemPoolHandle_st& pool) {
  for (const auto& [bytes, p] : pool.kept) {
    set_open(p, bytes, true);
    std::free(p);
  }
  kept_memory -= pool.kept_bytes;
  pool.kept_bytes = 0;
  pool.kept.clear();
}

// What still works on it finds NaN, and AddressSanitizer finds what does.
void keep(CUmemPoolHandle_st& pool, void* p, std::size_t bytes) {
  std::memset(p, 0xFF, bytes);
  set_open(p, bytes, false);
  pool.kept.emplace(bytes, p);
  pool.kept_bytes += bytes;
  pool.used_bytes -= bytes;
  kept_memory += bytes;
}

// The memory is filled with NaN and closed to the host.
void open_to_device(void* p, Allocation allocation) {
  set_open(p, allocation.bytes, true);
  std::memset(p, 0xFF, allocation.bytes);
  allocations[reinterpret_cast<std::uintptr_t>(p)] = allocation;
  live_memory += allocation.bytes;
  ++live_objects;
  close_memory(device_depth == 0);
}

bool is_mapped(std::uintptr_t address) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  return msync(reinterpret_cast<void*>(address / page * page), page, MS_ASYNC) == 0;
}

void check_copy(const void* device, const void* host, std::size_t bytes, const char* call) {
  if (!on_device(device, bytes)) die(std::string(call) + " leaves the memory of the device");
  if (on_device(host, 1))
    die(std::string(call) + ": memory of the device where the host's should be");
}

}  // namespace

void adopt(const void* p, std::size_t bytes) {
  allocations[reinterpret_cast<std::uintptr_t>(p)] = {bytes, nullptr, true};
}
void disown(const void* p) { allocations.erase(reinterpret_cast<std::uintptr_t>(p)); }

bool on_device(const void* p, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  const auto after = allocations.upper_bound(address);
  if (after == allocations.begin()) return false;
  const auto& [begin, allocation] = *std::prev(after);
  if (address + bytes > begin + allocation.bytes) return false;
  if (!allocation.there) die("memory is used before its stream has come to it");
  return true;
}

UNWATCHED void* shared_memory(std::size_t bytes) {
  [[maybe_unused]] const Unwatched scope{};
  auto& shared = current->block->shared;
  const std::size_t which = current->shared_declared++;
  if (which == shared.size()) shared.emplace_back(bytes, static_cast<unsigned char>(0xFF));
  if (shared[which].size() != bytes) die("threads disagree about shared memory");
  return shared[which].data();
}

void check_argument(const void* argument, std::size_t bytes) {
  for (std::size_t at = 0; at + sizeof(std::uintptr_t) <= bytes; at += sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    std::memcpy(&word, static_cast<const char*>(argument) + at, sizeof word);
    const bool address = word >> 32U != 0 && word >> 47U == 0;
    if (address && !on_device(reinterpret_cast<const void*>(word), 0) && is_mapped(word)) {
      die("an argument of a kernel points to the host");
    }
  }
}

void enqueue(cudaStream_t stream, std::function<void()> operation) {
  stream_of(stream).queue.push_back({std::move(operation), ++operations});
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   std::function<void()> thread) {
  if (const int error = injected_failure("cudaLaunchKernelEx")) return cudaError_t(error);
  const dim3 grid = config.gridDim;
  const dim3 block = config.blockDim;
  constexpr unsigned kMost = 65535;
  if (volume(grid) == 0 || grid.x > 2147483647U || grid.y > kMost || grid.z > kMost ||
      volume(block) == 0 || volume(block) > 1024 || block.z > 64) {
    return cudaErrorInvalidConfiguration;
  }
  enqueue(config.stream, [kernel, thread = std::move(thread), grid, block] {
    run_kernel(kernel, thread, grid, block);
  });
  return cudaSuccess;
}

}  // namespace fastntk::fake

using namespace fastntk::fake;  // NOLINT(google-build-using-namespace): the runtime's own names

CUmemPoolHandle_st::~CUmemPoolHandle_st() { give_up(*this); }

#define RETURN_INJECTED_FAILURE() \
  if (const int error = injected_failure(__func__)) return static_cast<cudaError_t>(error)

UNWATCHED void __syncthreads() { leave_fiber(); }

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
const char* cudaGetErrorString(cudaError_t /*error*/) { return "as the test wants it"; }
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= gpus) return cudaErrorInvalidDevice;
  current_gpu = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  RETURN_INJECTED_FAILURE();
  *device = current_gpu;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int /*device*/) {
  RETURN_INJECTED_FAILURE();
  if (attribute != cudaDevAttrMemoryPoolsSupported) return cudaErrorInvalidValue;
  *value = pools_supported ? 1 : 0;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  RETURN_INJECTED_FAILURE();
  if (bytes > room()) return cudaErrorMemoryAllocation;
  *p = std::malloc(bytes);
  open_to_device(*p, {bytes, nullptr, true});
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  const auto found = allocations.find(reinterpret_cast<std::uintptr_t>(p));
  if (found == allocations.end()) die("cudaFree of what is no allocation");
  // CUDA waits for all streams here, but not if it is memory of a pool. The sources are not to rely
  // on it.
  close_memory(false);
  const Allocation freed = found->second;
  live_memory -= freed.bytes;
  --live_objects;
  allocations.erase(found);
  if (freed.pool == nullptr) {
    std::free(p);
  } else {
    keep(*freed.pool, p, freed.bytes);
  }
  close_memory(device_depth == 0);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  RETURN_INJECTED_FAILURE();
  *free = room();
  *total = memory_limit;
  return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  RETURN_INJECTED_FAILURE();
  if (properties->allocType != cudaMemAllocationTypePinned || properties->handleTypes != 0 ||
      properties->location.type != cudaMemLocationTypeDevice ||
      properties->location.id != current_gpu) {
    return cudaErrorInvalidValue;
  }
  *pool = pools.emplace_back(std::make_unique<CUmemPoolHandle_st>()).get();
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t /*pool*/, cudaMemPoolAttr attribute,
                                    void* value) {
  RETURN_INJECTED_FAILURE();
  if (attribute != cudaMemPoolAttrReleaseThreshold) return cudaErrorInvalidValue;
  kept_at_most = *static_cast<std::uint64_t*>(value);
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  RETURN_INJECTED_FAILURE();
  const bool used = attribute == cudaMemPoolAttrUsedMemCurrent;
  if (!used && attribute != cudaMemPoolAttrReservedMemCurrent) return cudaErrorInvalidValue;
  *static_cast<std::uint64_t*>(value) = pool->used_bytes + (used ? 0 : pool->kept_bytes);
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t kept) {
  RETURN_INJECTED_FAILURE();
  if (kept != 0) return cudaErrorInvalidValue;
  give_up(*pool);
  return cudaSuccess;
}
cudaError_t cudaMallocFromPoolAsync(void** p, std::size_t bytes, cudaMemPool_t pool,
                                    cudaStream_t stream) {
  RETURN_INJECTED_FAILURE();
  if (const auto found = pool->kept.find(bytes); found != pool->kept.end()) {
    *p = found->second;
    pool->kept.erase(found);
    pool->kept_bytes -= bytes;
    kept_memory -= bytes;
  } else {
    if (bytes > room()) return cudaErrorMemoryAllocation;
    *p = std::malloc(bytes);
  }
  pool->used_bytes += bytes;
  open_to_device(*p, {bytes, pool, false});
  enqueue(stream, [address = reinterpret_cast<std::uintptr_t>(*p)] {
    if (const auto found = allocations.find(address); found != allocations.end()) {
      found->second.there = true;
    }
  });
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  RETURN_INJECTED_FAILURE();
  const bool up = kind == cudaMemcpyHostToDevice;
  check_copy(up ? to : from, up ? from : to, bytes, __func__);
  enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                         std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  RETURN_INJECTED_FAILURE();
  if (width > to_pitch || width > from_pitch) return cudaErrorInvalidValue;
  for (std::size_t row = 0; row < height; ++row) {
    cudaMemcpyAsync(static_cast<char*>(to) + row * to_pitch,
                    static_cast<const char*>(from) + row * from_pitch, width, kind, nullptr);
  }
  run_all(default_stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
  RETURN_INJECTED_FAILURE();
  *stream = new CUstream_st;
  ++live_objects;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  run_all(*stream);
  delete stream;
  --live_objects;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  RETURN_INJECTED_FAILURE();
  run_all(stream_of(stream));
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned /*flags*/) {
  RETURN_INJECTED_FAILURE();
  *event = new CUevent_st;
  ++live_objects;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  --live_objects;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  RETURN_INJECTED_FAILURE();
  *event = {&stream_of(stream), operations};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  RETURN_INJECTED_FAILURE();
  if (event->stream != nullptr) run_until(*event->stream, event->number);
  return cudaSuccess;
}
