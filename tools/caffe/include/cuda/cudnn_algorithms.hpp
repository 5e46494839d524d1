// The three functions of cuDNN that choose a convolution's algorithm, which Caffe calls and cuDNN 8 removed.
// Included by the compiler into every C++ file of libcaffe's CUDA build; does nothing with older cuDNN.
//
// Built on the queries that replaced them (cudnnGetConvolution...Algorithm_v7): the first algorithm
// whose workspace is within a limit. Caffe's own limit, 8 MiB, is of a time when every layer kept its
// workspaces; now all share them (cudnn_workspace.hpp). Caffe asks again at every forward pass, so the answers
// are kept, by device and shapes. Two variables of the environment change the choice:
//   SJFT_CUDNN_WORKSPACE=64   another limit than 512 MiB, for each of a convolution's three passes
//   SJFT_CUDNN_SEARCH=1       time the algorithms (cudnnFindConvolution...Algorithm) instead of
//                             asking cuDNN's heuristics
#ifndef SJFT_CUDNN_ALGORITHMS_HPP_
#define SJFT_CUDNN_ALGORITHMS_HPP_

#include <cudnn.h>

#if CUDNN_MAJOR >= 8

#include <cstddef>
#include <cstdlib>
#include <map>
#include <vector>

enum { CUDNN_CONVOLUTION_FWD_SPECIFY_WORKSPACE_LIMIT = 2 };
enum { CUDNN_CONVOLUTION_BWD_FILTER_SPECIFY_WORKSPACE_LIMIT = 2 };
enum { CUDNN_CONVOLUTION_BWD_DATA_SPECIFY_WORKSPACE_LIMIT = 2 };

namespace sjft {

// All that decides which algorithm is best: the device, and what the descriptors describe.
typedef std::vector<long> Problem;

inline void Describe(cudnnTensorDescriptor_t tensor, Problem* problem) {
  cudnnDataType_t type;
  int of[8];
  cudnnGetTensor4dDescriptor(tensor, &type, of, of + 1, of + 2, of + 3, of + 4, of + 5, of + 6, of + 7);
  problem->push_back(type);
  problem->insert(problem->end(), of, of + 8);
}

inline void Describe(cudnnFilterDescriptor_t filter, Problem* problem) {
  cudnnDataType_t type;
  cudnnTensorFormat_t format;
  int of[4];
  cudnnGetFilter4dDescriptor(filter, &type, &format, of, of + 1, of + 2, of + 3);
  problem->push_back(type);
  problem->push_back(format);
  problem->insert(problem->end(), of, of + 4);
}

inline void Describe(cudnnConvolutionDescriptor_t convolution, Problem* problem) {
  cudnnConvolutionMode_t mode;
  cudnnDataType_t type;
  cudnnMathType_t math;
  int of[7];
  cudnnGetConvolution2dDescriptor(
      convolution, of, of + 1, of + 2, of + 3, of + 4, of + 5, &mode, &type);
  cudnnGetConvolutionGroupCount(convolution, of + 6);
  cudnnGetConvolutionMathType(convolution, &math);
  problem->push_back(mode);
  problem->push_back(type);
  problem->push_back(math);
  problem->insert(problem->end(), of, of + 7);
}

inline size_t WorkspaceLimit() {
  static const char* mebibytes = std::getenv("SJFT_CUDNN_WORKSPACE");
  return (mebibytes ? std::strtoull(mebibytes, NULL, 10) : 512) << 20;
}

inline bool Search() {
  static const char* search = std::getenv("SJFT_CUDNN_SEARCH");
  return search && std::atoi(search) != 0;
}

// `get`, `find` and `size` are cuDNN's functions for one pass; a, b and c its other descriptors in their
// order. Algorithm 0 of every pass works without a workspace; Caffe falls back on it as well.
template <typename Perf, typename Function, typename Size, typename Algorithm, typename A, typename B,
    typename C>
cudnnStatus_t Choose(Function get, Function find, Size size, cudnnHandle_t handle, A a, B b,
    cudnnConvolutionDescriptor_t convolution, C c, Algorithm* algorithm) {
  static thread_local std::map<Problem, Algorithm> chosen;
  int device = 0;
  cudaGetDevice(&device);
  Problem problem(1, device);
  Describe(a, &problem);
  Describe(b, &problem);
  Describe(convolution, &problem);
  Describe(c, &problem);
  const typename std::map<Problem, Algorithm>::iterator known = chosen.find(problem);
  if (known != chosen.end()) {
    *algorithm = known->second;
    return CUDNN_STATUS_SUCCESS;
  }

  Perf results[16];
  int count = 0;
  const cudnnStatus_t status = (Search() ? find : get)(handle, a, b, convolution, c, 16, &count, results);
  if (status != CUDNN_STATUS_SUCCESS) {
    return status;
  }
  *algorithm = static_cast<Algorithm>(0);
  for (int i = 0; i < count; ++i) {
    // A result may be for another kind of arithmetic (mathType) than the descriptor's, which is what will
    // be computed with: its own workspace is asked for, as Caffe does next.
    size_t memory = 0;
    if (results[i].status == CUDNN_STATUS_SUCCESS &&
        size(handle, a, b, convolution, c, results[i].algo, &memory) == CUDNN_STATUS_SUCCESS &&
        memory <= WorkspaceLimit()) {
      *algorithm = results[i].algo;
      break;
    }
  }
  chosen[problem] = *algorithm;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace sjft

inline cudnnStatus_t cudnnGetConvolutionForwardAlgorithm(cudnnHandle_t handle,
    cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t convolution,
    cudnnTensorDescriptor_t y, int /* preference */, size_t /* limit */, cudnnConvolutionFwdAlgo_t* algorithm) {
  return sjft::Choose<cudnnConvolutionFwdAlgoPerf_t>(cudnnGetConvolutionForwardAlgorithm_v7,
      cudnnFindConvolutionForwardAlgorithm, cudnnGetConvolutionForwardWorkspaceSize, handle, x, w,
      convolution, y, algorithm);
}

inline cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm(cudnnHandle_t handle,
    cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t convolution,
    cudnnFilterDescriptor_t dw, int /* preference */, size_t /* limit */,
    cudnnConvolutionBwdFilterAlgo_t* algorithm) {
  return sjft::Choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
      cudnnGetConvolutionBackwardFilterAlgorithm_v7, cudnnFindConvolutionBackwardFilterAlgorithm,
      cudnnGetConvolutionBackwardFilterWorkspaceSize, handle, x, dy, convolution, dw, algorithm);
}

inline cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm(cudnnHandle_t handle,
    cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t convolution,
    cudnnTensorDescriptor_t dx, int /* preference */, size_t /* limit */,
    cudnnConvolutionBwdDataAlgo_t* algorithm) {
  return sjft::Choose<cudnnConvolutionBwdDataAlgoPerf_t>(
      cudnnGetConvolutionBackwardDataAlgorithm_v7, cudnnFindConvolutionBackwardDataAlgorithm,
      cudnnGetConvolutionBackwardDataWorkspaceSize, handle, w, dy, convolution, dx, algorithm);
}

#endif  // CUDNN_MAJOR >= 8
#endif  // SJFT_CUDNN_ALGORITHMS_HPP_
