// SPDY/3.1 framing, as much as exec needs: streams that the client opens, data both ways, no push
// and no priorities. https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/core/result.h"

namespace thinsnap::streams::spdy {

using Header = std::pair<std::string, std::string>;  // names in lower case

struct Frame {
  enum class Type : std::uint8_t {
    kSynStream,
    kData,
    kReset,
    kPing,
    kGoAway,
    kOther
  } type = Type::kOther;
  std::uint32_t stream = 0;  // of a ping its id
  bool fin = false;
  std::vector<Header> headers;  // kSynStream
  std::string data;             // kData
};

// The dictionary that both sides' header compression starts from.
const std::string& Dictionary();

// Cuts a byte stream into frames. Header blocks share one decompressor, so every frame must pass
// through.
class Reader {
 public:
  Reader();
  ~Reader();
  void Append(std::string_view bytes);
  // nullopt: more bytes are needed. kInvalidArgument: this is no SPDY, or more than it should be.
  Result<std::optional<Frame>> Next();

 private:
  Result<std::vector<Header>> ReadHeaders(std::string_view block);

  struct Inflater;
  std::unique_ptr<Inflater> inflater_;
  std::string buffer_;
};

// Writes frames; header blocks share one compressor.
class Writer {
 public:
  Writer();
  ~Writer();
  std::string SynReply(std::uint32_t stream, const std::vector<Header>& headers);
  static std::string Data(std::uint32_t stream, std::string_view bytes, bool fin);
  static std::string Ping(std::uint32_t id);
  static std::string GoAway(std::uint32_t last_stream);

 private:
  struct Deflater;
  std::unique_ptr<Deflater> deflater_;
};

}  // namespace thinsnap::streams::spdy
