// What cuDNN's layers share: handles, streams, workspaces. patches/cuda/shared-cudnn.patch has them use it.
//
// Caffe as published gives each layer its own, and a convolution three for each of its groups. In the joint
// ResNet-152 that is 617 handles of some 9 MiB, and 3.6 GiB of workspaces though each may have 8 MiB only,
// too little for the algorithms that use tensor cores. But layers run one after another, and a convolution
// ends with a kernel of the default stream, which waits for the layer's streams: three lanes do for all of
// them, however many groups they have. What shares a lane runs in the order of its stream.
//
// cuDNN's handles are for one thread at a time, and a net may be built, run and destroyed in three. A layer
// asks at each use, and gets what belongs to the thread that asks and to its present device. What a thread
// has had goes to the next thread when it ends; nothing is destroyed before the process ends.
#ifndef SJFT_CUDNN_SHARED_HPP_
#define SJFT_CUDNN_SHARED_HPP_

#include <cuda_runtime.h>
#include <cudnn.h>
#include <glog/logging.h>

#include <cstddef>
#include <map>
#include <mutex>

namespace sjft {

// Beside the lanes' handles, which have streams of their own, there is one for the default stream.
enum { kLanes = 3, kDefault = kLanes, kHandles };

// What one thread has on one device.
struct Shared {
  cudnnHandle_t handles[kHandles];
  void* workspaces[kLanes];
  size_t bytes[kLanes];
};

typedef std::multimap<int, Shared*> SharedOfDevices;

// What threads that have ended left. Never destroyed, as threads may end after everything else.
struct Left {
  std::mutex mutex;
  SharedOfDevices of_devices;

  static Left& Get() {
    static Left* const left = new Left;
    return *left;
  }
};

// What the calling thread has, by device.
class Mine {
 public:
  static Shared& Of(int device) {
    static thread_local Mine mine;
    const SharedOfDevices::iterator found = mine.of_devices_.find(device);
    return found != mine.of_devices_.end() ? *found->second : mine.Take(device);
  }

  static Shared& OfPresentDevice() {
    int device = 0;
    const cudaError_t status = cudaGetDevice(&device);
    CHECK_EQ(status, cudaSuccess) << " " << cudaGetErrorString(status);
    return Of(device);
  }

  ~Mine() {
    Left& left = Left::Get();
    std::lock_guard<std::mutex> lock(left.mutex);
    left.of_devices.insert(of_devices_.begin(), of_devices_.end());
  }

 private:
  Shared& Take(int device) {
    Left& left = Left::Get();
    std::lock_guard<std::mutex> lock(left.mutex);
    const SharedOfDevices::iterator found = left.of_devices.find(device);
    Shared* shared;
    if (found != left.of_devices.end()) {
      shared = found->second;
      left.of_devices.erase(found);
    } else {
      shared = new Shared();
    }
    of_devices_.insert(std::make_pair(device, shared));
    return *shared;
  }

  SharedOfDevices of_devices_;
};

// Returns the calling thread's handle of this number, made at its first use.
inline cudnnHandle_t HandleOf(int number) {
  cudnnHandle_t& handle = Mine::OfPresentDevice().handles[number];
  if (handle == NULL) {
    cudnnStatus_t made = cudnnCreate(&handle);
    if (made == CUDNN_STATUS_SUCCESS && number != kDefault) {
      cudaStream_t stream;
      const cudaError_t status = cudaStreamCreate(&stream);
      CHECK_EQ(status, cudaSuccess) << " " << cudaGetErrorString(status);
      made = cudnnSetStream(handle, stream);
    }
    CHECK_EQ(made, CUDNN_STATUS_SUCCESS) << " " << cudnnGetErrorString(made);
  }
  return handle;
}

// In place of a convolution's handles, and indexed as they are.
struct LaneHandles {
  cudnnHandle_t operator[](int index) const { return HandleOf(index % kLanes); }
};

// In place of the one handle of another layer, whose work goes to the default stream.
struct DefaultHandle {
  operator cudnnHandle_t() const { return HandleOf(kDefault); }
};

// Returns at least `bytes` of device memory for what is computed by the convolution's handle of this index;
// ends the process where they cannot be had.
inline void* Workspace(int index, size_t bytes) {
  if (bytes == 0) {
    return NULL;
  }
  Shared& shared = Mine::OfPresentDevice();
  const int lane = index % kLanes;
  if (shared.bytes[lane] < bytes) {
    CHECK_EQ(cudaFree(shared.workspaces[lane]), cudaSuccess);  // after what still uses it
    shared.workspaces[lane] = NULL;
    CHECK_EQ(cudaMalloc(&shared.workspaces[lane], bytes), cudaSuccess)
        << "no " << (bytes >> 20) << " MiB for cuDNN's workspace: choose a smaller batch, or allow less by "
        << "SJFT_CUDNN_WORKSPACE=MIB in the environment";
    shared.bytes[lane] = bytes;
  }
  return shared.workspaces[lane];
}

}  // namespace sjft

#endif  // SJFT_CUDNN_SHARED_HPP_
