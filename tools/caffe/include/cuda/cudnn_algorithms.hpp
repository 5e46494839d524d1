// The three functions of cuDNN that choose a convolution's algorithm, which Caffe calls and cuDNN 8 removed.
// Included by the compiler into every C++ file of libcaffe's CUDA build; does nothing with older cuDNN.
//
// Built on the queries that replaced them (cudnnGetConvolution...Algorithm_v7): the first algorithm
// whose workspace is within a limit. Caffe's own limit, 8 MiB, is of a time when every layer kept its
// workspaces; now all share them (cudnn_shared.hpp). Caffe asks anew at every forward pass, for the algorithm
// and for its workspace, so the answers are kept, by device and shapes. The environment changes the choice:
//   SJFT_CUDNN_WORKSPACE=64       another limit than 512 MiB, for each of a convolution's three passes
//   SJFT_CUDNN_SEARCH=1           time the algorithms (cudnnFindConvolution...Algorithm) instead of
//                                 asking cuDNN's heuristics
//   SJFT_CUDNN_DETERMINISTIC=1    only algorithms that add up in one order: a run repeated gives the same bits
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

inline bool Wanted(const char* variable) {
  const char* value = std::getenv(variable);
  return value && std::atoi(value) != 0;
}

inline bool Search() {
  static const bool wanted = Wanted("SJFT_CUDNN_SEARCH");
  return wanted;
}

inline bool Deterministic() {
  static const bool wanted = Wanted("SJFT_CUDNN_DETERMINISTIC");
  return wanted;
}

template <typename Algorithm>
struct Choice {
  Algorithm algorithm;
  size_t memory;
};

// The choices made so far for one pass.
template <typename Algorithm>
std::map<Problem, Choice<Algorithm> >& Choices() {
  static thread_local std::map<Problem, Choice<Algorithm> > choices;
  return choices;
}

// a, b and c: the other descriptors of cuDNN's functions for a pass, in their order.
template <typename A, typename B, typename C>
Problem Describe(A a, B b, cudnnConvolutionDescriptor_t convolution, C c) {
  int device = 0;
  cudaGetDevice(&device);
  Problem problem(1, device);
  Describe(a, &problem);
  Describe(b, &problem);
  Describe(convolution, &problem);
  Describe(c, &problem);
  return problem;
}

// `get`, `find` and `size` are cuDNN's functions for one pass. Algorithm 0 of every pass works without a
// workspace; Caffe falls back on it as well.
template <typename Perf, typename Function, typename Size, typename Algorithm, typename A, typename B,
    typename C>
cudnnStatus_t Choose(Function get, Function find, Size size, cudnnHandle_t handle, A a, B b,
    cudnnConvolutionDescriptor_t convolution, C c, Algorithm* algorithm) {
  const Problem problem = Describe(a, b, convolution, c);
  std::map<Problem, Choice<Algorithm> >& choices = Choices<Algorithm>();
  const typename std::map<Problem, Choice<Algorithm> >::iterator known = choices.find(problem);
  if (known != choices.end()) {
    *algorithm = known->second.algorithm;
    return CUDNN_STATUS_SUCCESS;
  }

  Perf results[16];
  int count = 0;
  const cudnnStatus_t status = (Search() ? find : get)(handle, a, b, convolution, c, 16, &count, results);
  if (status != CUDNN_STATUS_SUCCESS) {
    return status;
  }
  Choice<Algorithm> choice = {static_cast<Algorithm>(0), 0};
  bool found = false;
  for (int i = 0; i < count && !found; ++i) {
    // A result may be for another kind of arithmetic (mathType) than the descriptor's, which is what will
    // be computed with: its own workspace is asked for, as Caffe does next.
    size_t memory = 0;
    if (results[i].status == CUDNN_STATUS_SUCCESS &&
        (!Deterministic() || results[i].determinism == CUDNN_DETERMINISTIC) &&
        size(handle, a, b, convolution, c, results[i].algo, &memory) == CUDNN_STATUS_SUCCESS &&
        memory <= WorkspaceLimit()) {
      choice.algorithm = results[i].algo;
      choice.memory = memory;
      found = true;
    }
  }
  if (!found) {
    if (Deterministic()) {
      return CUDNN_STATUS_NOT_SUPPORTED;  // algorithm 0 is not, going backward
    }
    const cudnnStatus_t status = size(handle, a, b, convolution, c, choice.algorithm, &choice.memory);
    if (status != CUDNN_STATUS_SUCCESS) {
      return status;
    }
  }
  choices[problem] = choice;
  *algorithm = choice.algorithm;
  return CUDNN_STATUS_SUCCESS;
}

// The workspace of an algorithm, which cuDNN takes long to say.
template <typename Size, typename Algorithm, typename A, typename B, typename C>
cudnnStatus_t WorkspaceSize(Size size, cudnnHandle_t handle, A a, B b,
    cudnnConvolutionDescriptor_t convolution, C c, Algorithm algorithm, size_t* memory) {
  const std::map<Problem, Choice<Algorithm> >& choices = Choices<Algorithm>();
  const typename std::map<Problem, Choice<Algorithm> >::const_iterator known =
      choices.find(Describe(a, b, convolution, c));
  if (known != choices.end() && known->second.algorithm == algorithm) {
    *memory = known->second.memory;
    return CUDNN_STATUS_SUCCESS;
  }
  return size(handle, a, b, convolution, c, algorithm, memory);
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

namespace sjft {

inline cudnnStatus_t ForwardWorkspaceSize(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
    cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y,
    cudnnConvolutionFwdAlgo_t algorithm, size_t* memory) {
  return WorkspaceSize(
      cudnnGetConvolutionForwardWorkspaceSize, handle, x, w, convolution, y, algorithm, memory);
}

inline cudnnStatus_t BackwardFilterWorkspaceSize(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
    cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dw,
    cudnnConvolutionBwdFilterAlgo_t algorithm, size_t* memory) {
  return WorkspaceSize(
      cudnnGetConvolutionBackwardFilterWorkspaceSize, handle, x, dy, convolution, dw, algorithm, memory);
}

inline cudnnStatus_t BackwardDataWorkspaceSize(cudnnHandle_t handle, cudnnFilterDescriptor_t w,
    cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t dx,
    cudnnConvolutionBwdDataAlgo_t algorithm, size_t* memory) {
  return WorkspaceSize(
      cudnnGetConvolutionBackwardDataWorkspaceSize, handle, w, dy, convolution, dx, algorithm, memory);
}

}  // namespace sjft

// Caffe's calls, from here on.
#define cudnnGetConvolutionForwardWorkspaceSize sjft::ForwardWorkspaceSize
#define cudnnGetConvolutionBackwardFilterWorkspaceSize sjft::BackwardFilterWorkspaceSize
#define cudnnGetConvolutionBackwardDataWorkspaceSize sjft::BackwardDataWorkspaceSize

#endif  // CUDNN_MAJOR >= 8
#endif  // SJFT_CUDNN_ALGORITHMS_HPP_
