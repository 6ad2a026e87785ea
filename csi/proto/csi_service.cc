#include "csi/proto/csi_service.h"

namespace thinsnap::proto {

#define THINSNAP_REFUSE_VERB(service, verb)                                                   \
  Result<csi::v1::verb##Response> service::verb(const Call&, const csi::v1::verb##Request&) { \
    return Error(Code::kUnimplemented, "this driver does not have the verb " #verb);          \
  }
#define THINSNAP_REFUSE_STREAM(verb)                                                 \
  Status SnapshotMetadataService::verb(const Call&, const csi::v1::verb##Request&,   \
                                       const Sink<csi::v1::verb##Response>&) {       \
    return Error(Code::kUnimplemented, "this driver does not have the verb " #verb); \
  }
#define THINSNAP_REFUSE_IDENTITY(verb) THINSNAP_REFUSE_VERB(IdentityService, verb)
#define THINSNAP_REFUSE_CONTROLLER(verb) THINSNAP_REFUSE_VERB(ControllerService, verb)
#define THINSNAP_REFUSE_GROUP(verb) THINSNAP_REFUSE_VERB(GroupControllerService, verb)
#define THINSNAP_REFUSE_NODE(verb) THINSNAP_REFUSE_VERB(NodeService, verb)
THINSNAP_IDENTITY_VERBS(THINSNAP_REFUSE_IDENTITY)
THINSNAP_CONTROLLER_VERBS(THINSNAP_REFUSE_CONTROLLER)
THINSNAP_GROUP_VERBS(THINSNAP_REFUSE_GROUP)
THINSNAP_NODE_VERBS(THINSNAP_REFUSE_NODE)
THINSNAP_METADATA_VERBS(THINSNAP_REFUSE_STREAM)

}  // namespace thinsnap::proto
