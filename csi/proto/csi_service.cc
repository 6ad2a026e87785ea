#include "csi/proto/csi_service.h"

namespace thinsnap::proto {

#define THINSNAP_REFUSE_VERB(service, verb)                                                      \
  Result<csi::v1::verb##Response> CsiService::verb(const Call&, const csi::v1::verb##Request&) { \
    return Error(Code::kUnimplemented, "this driver does not have the verb " #verb);             \
  }
THINSNAP_CSI_VERBS(THINSNAP_REFUSE_VERB)
#undef THINSNAP_REFUSE_VERB

}  // namespace thinsnap::proto
