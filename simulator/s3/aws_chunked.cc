#include "simulator/s3/aws_chunked.h"

#include <algorithm>
#include <charconv>

namespace thinsnap::s3 {
namespace {

constexpr std::size_t kMaxLine = 8192;
constexpr std::size_t kMaxTrailers = 16;
constexpr std::uint64_t kMaxChunk = std::uint64_t{16} << 20;

}  // namespace

AwsChunkedDecoder::AwsChunkedDecoder(const Authenticated& auth)
    : auth_(auth),
      signed_(auth.payload != PayloadKind::kUnsignedChunksWithTrailer),
      previous_(auth.signature),
      hash_(MakeChecksum("sha256")) {}

S3Status AwsChunkedDecoder::Feed(std::string_view bytes,
                                 const std::function<S3Status(ByteSpan)>& sink) {
  while (!bytes.empty()) {
    if (state_ == State::kData) {
      const std::string_view part = bytes.substr(0, std::min<std::uint64_t>(left_, bytes.size()));
      if (signed_) hash_->Add(AsBytes(part));
      TRY(sink(AsBytes(part)));
      left_ -= part.size();
      bytes.remove_prefix(part.size());
      if (left_ == 0) state_ = State::kDataEnd;
      continue;
    }
    if (state_ == State::kDone)
      return Fault("IncompleteBody", "the body goes on after its last chunk");
    const std::size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (line_.size() > kMaxLine)
      return Fault("InvalidRequest", "a line of the chunked body is too long");
    if (end == bytes.npos) return {};
    bytes.remove_prefix(end + 1);
    // AWS's own description has trailers that end with LF only, as minio-go writes them.
    if (line_.ends_with('\r')) {
      line_.pop_back();
    } else if (state_ != State::kTrailer) {
      return Fault("InvalidRequest", "a line of the chunked body does not end with CR LF");
    }
    const std::string line = std::exchange(line_, {});
    TRY(TakeLine(line));
  }
  return {};
}

S3Status AwsChunkedDecoder::TakeLine(std::string_view line) {
  if (state_ == State::kDataEnd) {
    if (!line.empty()) return Fault("InvalidRequest", "a chunk is longer than announced");
    TRY(CheckChunk());
    state_ = State::kSize;
    return {};
  }
  if (state_ == State::kTrailer) return TakeTrailer(line);

  const std::size_t semicolon = line.find(';');
  const std::string_view digits = line.substr(0, semicolon);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  if (error != std::errc() || end != digits.data() + digits.size() || left_ > kMaxChunk) {
    return Fault("InvalidRequest", "a chunk's size is malformed or above 16 MiB");
  }
  constexpr std::string_view kName = "chunk-signature=";
  claimed_.clear();
  if (semicolon != line.npos && line.substr(semicolon + 1).starts_with(kName)) {
    claimed_ = line.substr(semicolon + 1 + kName.size());
  }
  if (signed_ == claimed_.empty())
    return Fault("InvalidRequest", "a chunk's signature is missing or misplaced");
  last_ = left_ == 0;
  if (!last_) {
    state_ = State::kData;
    return {};
  }
  TRY(CheckChunk());
  state_ = State::kTrailer;
  return {};
}

S3Status AwsChunkedDecoder::CheckChunk() {
  if (!signed_) return {};
  const std::string hash = HexEncode(hash_->Finish());
  hash_ = MakeChecksum("sha256");
  const std::string expected = store::SigV4Signature(
      auth_.signing_key, "AWS4-HMAC-SHA256-PAYLOAD\n" + auth_.amz_date + "\n" + auth_.scope + "\n" +
                             previous_ + "\n" + store::Sha256Hex({}) + "\n" + hash);
  if (!Secret(expected).Equals(claimed_)) return Fault("SignatureDoesNotMatch");
  previous_ = expected;
  return {};
}

S3Status AwsChunkedDecoder::TakeTrailer(std::string_view line) {
  const bool expects_trailer = auth_.payload != PayloadKind::kSignedChunks;
  if (line.empty()) {
    // One may stand between a trailer and its signature.
    if (!signed_ || signed_trailers_.empty()) state_ = State::kDone;
    return {};
  }
  const std::size_t colon = line.find(':');
  if (!expects_trailer || colon == line.npos || trailers_.size() >= kMaxTrailers) {
    return Fault("InvalidRequest", "the trailer of the chunked body is malformed");
  }
  std::string name(line.substr(0, colon));
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  std::string value(line.substr(colon + 1));
  while (value.starts_with(' ')) value.erase(0, 1);
  while (value.ends_with(' ')) value.pop_back();
  if (name == "x-amz-trailer-signature" && signed_) {
    const std::string expected =
        store::SigV4Signature(auth_.signing_key, "AWS4-HMAC-SHA256-TRAILER\n" + auth_.amz_date +
                                                     "\n" + auth_.scope + "\n" + previous_ + "\n" +
                                                     store::Sha256Hex(AsBytes(signed_trailers_)));
    if (!Secret(expected).Equals(value)) return Fault("SignatureDoesNotMatch");
    signed_trailers_.clear();
    return {};
  }
  signed_trailers_ += name + ":" + value + "\n";
  trailers_.emplace_back(std::move(name), std::move(value));
  return {};
}

S3Status AwsChunkedDecoder::End() const {
  // Clients may leave out the empty line behind the last chunk's trailer.
  if (state_ == State::kDone ||
      (state_ == State::kTrailer && line_.empty() && signed_trailers_.empty()))
    return {};
  if (signed_ && state_ == State::kTrailer && !signed_trailers_.empty())
    return Fault("SignatureDoesNotMatch", "the trailer is not signed");
  return Fault("IncompleteBody");
}

}  // namespace thinsnap::s3
