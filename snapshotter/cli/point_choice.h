// Which restore point a person means.
#pragma once

#include <string>
#include <vector>

#include "base/core/result.h"
#include "snapshotter/cli/commands.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::cli {

// `wanted`: a full name, a unique prefix of a name or of a snapshot's id, or "latest", the newest
// cut. kNotFound, and kInvalidArgument naming the candidates where it is not unique.
Result<repo::PointInfo> PickPoint(const std::vector<repo::PointInfo>& points,
                                  const std::string& wanted);

// Looks into the repository; damaged points are passed over with a warning.
Result<repo::PointInfo> ChoosePoint(Context& context, repo::Repository& repository,
                                    const PointCommand& command);

// For --json and show.
Json PointToJson(const repo::PointInfo& point);
// What a point is a copy of, in a few words: claim or path.
std::string SourceOf(const repo::PointInfo& point);

}  // namespace thinsnap::cli
