// The S3 server as a program: runs until it is told to stop.
#pragma once

#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "simulator/s3/s3_server.h"

namespace thinsnap::s3 {

// Prints the endpoint on stdout, and the credentials where it made them up. Returns the exit code
// once `group` is stopped.
Result<int> ServeS3(Runtime& runtime, Random& random, TaskGroup& group, S3Options options);

}  // namespace thinsnap::s3
