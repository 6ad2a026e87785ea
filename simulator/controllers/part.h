// Part: one controller of the process, and what all of them are given.
#pragma once

#include <memory>
#include <string>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "base/kube/controller.h"
#include "base/kube/event_recorder.h"
#include "base/kube/informer.h"
#include "base/kube/object.h"

namespace thinsnap::controllers {

struct Context {
  Runtime& runtime;
  kube::KubeClient& client;
  kube::InformerSet& informers;
  Random& random;

  WallTime Now() const { return runtime.clock().Now(); }
};

// Made before the informers start (its constructor registers with them), started when their caches
// are filled.
class Part {
 public:
  virtual ~Part() = default;
  virtual void Start(TaskGroup& group) = 0;
};

// A part with one queue.
class QueuePart : public Part {
 public:
  QueuePart(const Context& context, const std::string& name)
      : context_(context),
        client_(context.client),
        events_(context.client, context.runtime.clock(), context.random, name),
        queue_(context.runtime, name,
               [this](const kube::ObjectKey& key) { return Reconcile(key); }) {}

  void Start(TaskGroup& group) override { queue_.Start(group); }

 protected:
  virtual Result<kube::Requeue> Reconcile(const kube::ObjectKey& key) = 0;

  kube::Informer& For(const kube::ResourceType& type) { return context_.informers.For(type); }

  const Context context_;
  kube::KubeClient& client_;
  kube::EventRecorder events_;
  kube::Controller queue_;
};

}  // namespace thinsnap::controllers
