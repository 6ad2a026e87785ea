// Bodies on their way in: decoded, measured, verified, never held in memory as a whole.
#include <cstring>
#include <map>
#include <utility>

#include "simulator/s3/aws_chunked.h"
#include "simulator/s3/checksum.h"
#include "simulator/s3/s3_service.h"

namespace thinsnap::s3 {
namespace {

constexpr std::uint64_t kMaxObject = 5 * kGiB;
constexpr std::size_t kMaxText = 4 * kMiB;

bool IsChunked(PayloadKind kind) {
  return kind != PayloadKind::kHash && kind != PayloadKind::kUnsigned;
}

struct Wanted {
  std::unique_ptr<Checksum> checksum;
  std::string expected;  // base64; empty: in the trailer
};

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

S3Result<std::string> KnownChecksum(std::string name) {
  if (name == "md5" || MakeChecksum(name) == nullptr) {
    return Fault("InvalidRequest", "the checksum " + name + " is not known");
  }
  return name;
}

// The checksums of the body that the headers give or announce for the trailer.
S3Result<std::map<std::string, Wanted>> WantedChecksums(const S3Call& call) {
  std::map<std::string, Wanted> wanted;
  // What completes an upload speaks of the object.
  const bool completes = call.request.method == "POST" && call.Has("uploadId");
  if (!completes) {
    for (const auto& [name, value] : TRY(GivenChecksums(call))) {
      wanted[name] = Wanted{MakeChecksum(name), value};
    }
  }
  const std::string trailer = LowerCase(call.Header("x-amz-trailer"));
  if (trailer.starts_with(kChecksumHeader)) {
    const std::string name = TRY(KnownChecksum(trailer.substr(std::strlen(kChecksumHeader))));
    wanted[name] = Wanted{MakeChecksum(name), ""};
  }
  return wanted;
}

}  // namespace

S3Result<std::map<std::string, std::string>> GivenChecksums(const S3Call& call) {
  std::map<std::string, std::string> given;
  for (const auto& [name, value] : call.request.headers.items()) {
    const std::string lower = LowerCase(name);
    if (!lower.starts_with(kChecksumHeader)) continue;
    const std::string rest = lower.substr(std::strlen(kChecksumHeader));
    if (rest == "type" || rest == "mode" || rest == "algorithm") continue;
    given[TRY(KnownChecksum(rest))] = value;
  }
  return given;
}

S3Status S3Service::ReadBody(const S3Call& call, const std::function<S3Status(ByteSpan)>& sink,
                             std::string& md5_hex, net::Headers& checksums) {
  const bool chunked = IsChunked(call.auth.payload);
  const std::string announced =
      call.Header(chunked ? "x-amz-decoded-content-length" : "Content-Length");
  std::uint64_t expected_size = 0;
  if (announced.empty() && (chunked || call.request.headers.Has("Transfer-Encoding"))) {
    return Fault("MissingContentLength");
  }
  if (!announced.empty()) expected_size = TRY(ParseNumber(announced, "the length", UINT64_MAX));
  if (expected_size > kMaxObject) return Fault("EntityTooLarge");

  auto wanted = TRY(WantedChecksums(call));
  const auto md5 = MakeChecksum("md5");
  const auto sha256 = call.auth.payload == PayloadKind::kHash ? MakeChecksum("sha256") : nullptr;
  std::uint64_t size = 0;
  const auto take = [&](ByteSpan bytes) -> S3Status {
    size += bytes.size();
    if (size > expected_size) return Fault("IncompleteBody");
    md5->Add(bytes);
    if (sha256 != nullptr) sha256->Add(bytes);
    for (auto& [name, one] : wanted) one.checksum->Add(bytes);
    return sink(bytes);
  };
  std::optional<AwsChunkedDecoder> decoder;
  if (chunked) decoder.emplace(call.auth);
  for (;;) {
    const std::string piece = TRY(call.request.body_stream->Read());
    if (piece.empty()) break;
    if (decoder) {
      TRY(decoder->Feed(piece, take));
    } else {
      TRY(take(AsBytes(piece)));
    }
  }
  if (decoder) TRY(decoder->End());
  if (size != expected_size) return Fault("IncompleteBody");
  if (sha256 != nullptr && HexEncode(sha256->Finish()) != call.auth.payload_hash) {
    return Fault("XAmzContentSHA256Mismatch");
  }
  const Bytes digest = md5->Finish();
  md5_hex = HexEncode(digest);
  if (const std::string given = call.Header("Content-MD5"); !given.empty()) {
    const auto decoded = Base64Decode(given);
    if (!decoded.ok() || decoded->size() != digest.size()) return Fault("InvalidDigest");
    if (*decoded != digest) return Fault("BadDigest");
  }
  for (auto& [name, one] : wanted) {
    if (one.expected.empty() && decoder) {
      for (const auto& [trailer, value] : decoder->trailers()) {
        if (trailer == std::string(kChecksumHeader) + name) one.expected = value;
      }
      if (one.expected.empty())
        return Fault("InvalidRequest", "the announced checksum is not in the trailer");
    }
    const std::string actual = Base64Encode(one.checksum->Finish());
    if (actual != one.expected) return Fault("BadDigest");
    checksums.Set(std::string(kChecksumHeader) + name, actual);
  }
  return {};
}

S3Result<ReceivedBody> S3Service::Receive(const S3Call& call) {
  ReceivedBody received;
  received.draft = TRY(storage_.NewDraft());
  const auto write = [&](ByteSpan bytes) -> S3Status {
    TRY(received.draft->Write(bytes));
    return {};
  };
  TRY(ReadBody(call, write, received.md5_hex, received.checksums));
  return received;
}

S3Result<std::string> S3Service::ReceiveText(const S3Call& call) {
  std::string text;
  const auto append = [&](ByteSpan bytes) -> S3Status {
    if (text.size() + bytes.size() > kMaxText) return Fault("EntityTooLarge");
    text += AsText(bytes);
    return {};
  };
  std::string md5;
  net::Headers checksums;
  TRY(ReadBody(call, append, md5, checksums));
  return text;
}

}  // namespace thinsnap::s3
