// HttpKubeClient: KubeClient over HTTPS.
#pragma once

#include <memory>
#include <string>

#include "base/kube/client.h"
#include "base/kube/client_config.h"

namespace thinsnap::kube {

std::unique_ptr<KubeClient> MakeHttpKubeClient(ClientConfig config, std::string user_agent);

}  // namespace thinsnap::kube
