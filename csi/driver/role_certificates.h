// The certificates by which the two roles of the driver know each other: one authority, and for
// each role a Secret with ca.crt, tls.crt and tls.key, so that no role can pass for the other. An
// authority is in every ca.crt one run before it issues: renewal breaks no running connection.
#pragma once

#include <string>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/kube/client.h"

namespace thinsnap::driver {

// The names that the certificates are valid for.
inline constexpr char kControllerTlsName[] = "thinsnap-csi-controller";
inline constexpr char kNodeTlsName[] = "thinsnap-csi-node";
// The Secrets. The authority's has ca.crt and ca.key: one or, around a renewal, several, in the
// same order, the newest last.
inline constexpr char kControllerTlsSecret[] = "thinsnap-csi-controller-tls";
inline constexpr char kNodeTlsSecret[] = "thinsnap-csi-node-tls";
inline constexpr char kAuthoritySecret[] = "thinsnap-csi-authority";

// Makes what is missing or unusable, and renews what has less than a third of its life left;
// changes nothing else. Idempotent. kAborted when another run was faster: to be tried again.
Status EnsureRoleCertificates(kube::KubeClient& kube, Clock& clock, const std::string& ns);

}  // namespace thinsnap::driver
