// The workspaces of cuDNN's convolutions, shared by all layers of a net: patches/cuda/shared-workspace.patch
// has them use it.
//
// Caffe gives each layer three of its own, for which it allows 8 MiB each: 3.6 GiB in a ResNet-152, and too
// little for the algorithms that use tensor cores. Layers run one after another, each ending in a kernel of the
// default stream that waits for the layer's streams, so that three workspaces do for all.
#ifndef SJFT_CUDNN_WORKSPACE_HPP_
#define SJFT_CUDNN_WORKSPACE_HPP_

#include <cuda_runtime.h>
#include <glog/logging.h>

#include <cstddef>
#include <map>
#include <utility>

namespace sjft {

struct Memory {
  Memory() : data(NULL), bytes(0) {}
  void* data;
  size_t bytes;
};

// Returns at least `bytes` of the present device's memory for one of the passes that a layer runs at the same
// time. It is the calling thread's, as two nets may run in two threads; ends the process where it cannot be had.
inline void* Workspace(int pass, size_t bytes) {
  static thread_local std::map<std::pair<int, int>, Memory> memories;
  if (bytes == 0) {
    return NULL;
  }
  int device = 0;
  CHECK_EQ(cudaGetDevice(&device), cudaSuccess);
  Memory& memory = memories[std::make_pair(device, pass)];
  if (memory.bytes < bytes) {
    CHECK_EQ(cudaFree(memory.data), cudaSuccess);  // after what still uses it
    memory = Memory();
    CHECK_EQ(cudaMalloc(&memory.data, bytes), cudaSuccess)
        << "no " << (bytes >> 20) << " MiB for cuDNN's workspace: choose a smaller batch, or allow less by "
        << "SJFT_CUDNN_WORKSPACE=MIB in the environment";
    memory.bytes = bytes;
  }
  return memory.data;
}

}  // namespace sjft

#endif  // SJFT_CUDNN_WORKSPACE_HPP_
