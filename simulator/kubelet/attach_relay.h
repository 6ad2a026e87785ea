// AttachRelay: a client's connection to what a running container says and reads.
#pragma once

#include <memory>

#include "simulator/containers/container_io.h"

namespace thinsnap::kubelet {

// Serves the client until it leaves, the container ends, the client's input has ended where that
// ends its session, or `stop_fd` becomes readable. Only for the last the end is not told.
void RelayAttach(int socket, const std::shared_ptr<containers::ContainerIo>& io, bool takes_input,
                 int stop_fd);

}  // namespace thinsnap::kubelet
