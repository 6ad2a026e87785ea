// Which restore point a person means. Names are matched against the keys of the store, so that one
// damaged point stands in the way of nothing but itself.
#pragma once

#include <string>

#include "base/core/result.h"
#include "snapshotter/cli/commands.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::cli {

// A full name, or a unique prefix of a name or of a snapshot's id. kNotFound, also for what was
// forgotten; kInvalidArgument naming the candidates where it is not unique. A point that cannot be
// read is found too.
Result<repo::PointName> ChooseName(repo::Repository& repository, const PointCommand& command);

// The same, or "latest": the newest cut. kDataLoss where the point meant is damaged; an older one
// never stands in for the newest.
Result<repo::PointInfo> ChoosePoint(Context& context, repo::Repository& repository,
                                    const PointCommand& command);

// For --json and show.
Json PointToJson(const repo::PointInfo& point);
// What a point is a copy of, in a few words: claim or path.
std::string SourceOf(const repo::PointInfo& point);

}  // namespace thinsnap::cli
