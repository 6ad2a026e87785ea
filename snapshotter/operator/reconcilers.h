// The reconcilers: one function for each kind, called with a key whenever something about that
// object may have changed. Each reads what is there, decides, takes a small step that may be
// repeated, and says when to be called again.
#pragma once

#include <string>
#include <vector>

#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

// Why a Repository is not open: it is sealed, and the passphrase is not there.
inline constexpr char kEncryptionSecretMissing[] = "EncryptionSecretNotAvailable";

Result<kube::Requeue> ReconcileBackupStorage(Context& context, const kube::ObjectKey& key);
Result<kube::Requeue> ReconcileRepository(Context& context, const kube::ObjectKey& key);
Result<kube::Requeue> ReconcileSnapshot(Context& context, const kube::ObjectKey& key);
Result<kube::Requeue> ReconcileBackupConfiguration(Context& context, const kube::ObjectKey& key);
Result<kube::Requeue> ReconcileBackupSession(Context& context, const kube::ObjectKey& key);
Result<kube::Requeue> ReconcileRestoreSession(Context& context, const kube::ObjectKey& key);

// The end of a Repository: what its deletionPolicy asks for, then the finalizer goes. May be
// repeated at any point.
Result<kube::Requeue> FinishRepository(Context& context, Json repository);

// An open repository together with the objects that lead to it. The errors are sentences for a
// condition.
struct OpenedRepository {
  Json storage;
  Backends::Access access;
  OpenRepository open;
};
Result<OpenedRepository> OpenRepositoryOf(Context& context, const Json& repository);

// The Snapshots of a Repository, oldest first.
Result<std::vector<Json>> SnapshotsOf(Context& context, const Json& repository);
// The last condition of a session that ran, which clients wait for. Nothing receives metrics of
// this version, and the condition says so.
void ReportMetrics(Context& context, Json& session);
// True where the namespace of an object is being deleted: then its data stays in the bucket.
Result<bool> NamespaceIsGoing(Context& context, const std::string& ns);
// Says so in the operator's namespace; that of the object takes no events any more.
void ReportKeptData(Context& context, const Json& object);

}  // namespace thinsnap::backup
