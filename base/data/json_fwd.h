// Declarations of the JSON types, for headers that only pass them on.
#pragma once

#include <boost/json/fwd.hpp>

namespace thinsnap {

using Json = boost::json::value;
using JsonObject = boost::json::object;
using JsonArray = boost::json::array;

}  // namespace thinsnap
