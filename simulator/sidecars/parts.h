// The parts of this folder, one function each, and what they are given. start.cc makes them all.
#pragma once

#include <memory>

#include "simulator/controllers/part.h"
#include "simulator/sidecars/driver.h"
#include "simulator/sidecars/start.h"

namespace thinsnap::sidecars {

using controllers::Part;
using controllers::QueuePart;

struct Context : controllers::Context {
  proto::CsiService& csi;
  const SidecarOptions options;
  // Filled before Start of the parts that speak to the driver.
  const std::shared_ptr<DriverFacts> driver;
};

std::unique_ptr<Part> MakeProvisioner(const Context& context);
std::unique_ptr<Part> MakeVolumeDeleter(const Context& context);
std::unique_ptr<Part> MakeSnapshotController(const Context& context);
std::unique_ptr<Part> MakeSnapshotter(const Context& context);
std::unique_ptr<Part> MakeResizer(const Context& context);

}  // namespace thinsnap::sidecars
