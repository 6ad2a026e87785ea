#include "simulator/streams/spdy.h"

#include <array>
#include <zlib.h>

namespace thinsnap::streams::spdy {
namespace {

constexpr std::size_t kFrameHeader = 8;
constexpr std::size_t kMaxFrame = 1 << 20;
constexpr std::size_t kMaxHeaderBytes = 64 << 10;
constexpr std::size_t kMaxHeaders = 100;
constexpr std::uint16_t kVersion = 3;
constexpr std::uint8_t kFin = 1;
enum ControlType : std::uint8_t {
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kPing = 6,
  kGoAway = 7
};

// The draft's dictionary: words with their lengths before them, then plain text.
constexpr std::array<std::string_view, 65> kWords = {"options",
                                                     "head",
                                                     "post",
                                                     "put",
                                                     "delete",
                                                     "trace",
                                                     "accept",
                                                     "accept-charset",
                                                     "accept-encoding",
                                                     "accept-language",
                                                     "accept-ranges",
                                                     "age",
                                                     "allow",
                                                     "authorization",
                                                     "cache-control",
                                                     "connection",
                                                     "content-base",
                                                     "content-encoding",
                                                     "content-language",
                                                     "content-length",
                                                     "content-location",
                                                     "content-md5",
                                                     "content-range",
                                                     "content-type",
                                                     "date",
                                                     "etag",
                                                     "expect",
                                                     "expires",
                                                     "from",
                                                     "host",
                                                     "if-match",
                                                     "if-modified-since",
                                                     "if-none-match",
                                                     "if-range",
                                                     "if-unmodified-since",
                                                     "last-modified",
                                                     "location",
                                                     "max-forwards",
                                                     "pragma",
                                                     "proxy-authenticate",
                                                     "proxy-authorization",
                                                     "range",
                                                     "referer",
                                                     "retry-after",
                                                     "server",
                                                     "te",
                                                     "trailer",
                                                     "transfer-encoding",
                                                     "upgrade",
                                                     "user-agent",
                                                     "vary",
                                                     "via",
                                                     "warning",
                                                     "www-authenticate",
                                                     "method",
                                                     "get",
                                                     "status",
                                                     "200 OK",
                                                     "version",
                                                     "HTTP/1.1",
                                                     "url",
                                                     "public",
                                                     "set-cookie",
                                                     "keep-alive",
                                                     "origin"};
constexpr std::string_view kTail =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
    "Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, "
    "GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/"
    "plain,"
    "text/"
    "javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq="
    "0.";

void PutU32(std::string& to, std::uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) to += static_cast<char>((value >> shift) & 0xff);
}

std::uint32_t GetU32(std::string_view from) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i)
    value = (value << 8) | static_cast<unsigned char>(from[static_cast<std::size_t>(i)]);
  return value;
}

std::string ControlFrame(ControlType type, std::string_view payload) {
  std::string frame;
  PutU32(frame, 0x80000000U | (std::uint32_t{kVersion} << 16) | type);
  PutU32(frame, static_cast<std::uint32_t>(payload.size()));  // flags 0
  frame += payload;
  return frame;
}

Bytef* ZBytes(std::string_view text) {
  // zlib reads through a pointer to non-const.
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(text.data()));
}

}  // namespace

const std::string& Dictionary() {
  static const std::string dictionary = [] {
    std::string text;
    for (const auto word : kWords) {
      PutU32(text, static_cast<std::uint32_t>(word.size()));
      text += word;
    }
    return text + std::string(kTail);
  }();
  return dictionary;
}

struct Reader::Inflater {
  z_stream stream{};
  Inflater() { ASSERT(inflateInit(&stream) == Z_OK); }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

Reader::Reader() : inflater_(std::make_unique<Inflater>()) {}
Reader::~Reader() = default;

void Reader::Append(std::string_view bytes) { buffer_ += bytes; }

Result<std::vector<Header>> Reader::ReadHeaders(std::string_view block) {
  z_stream& z = inflater_->stream;
  z.next_in = ZBytes(block);
  z.avail_in = static_cast<uInt>(block.size());
  std::string plain;
  std::array<char, 4096> out;
  while (z.avail_in > 0 || z.avail_out == 0) {
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = out.size();
    const int status = inflate(&z, Z_SYNC_FLUSH);
    if (status == Z_NEED_DICT) {
      const std::string& dictionary = Dictionary();
      if (inflateSetDictionary(&z, ZBytes(dictionary), static_cast<uInt>(dictionary.size())) !=
          Z_OK) {
        return Error(Code::kInvalidArgument, "SPDY headers use another dictionary");
      }
      continue;
    }
    if (status != Z_OK && status != Z_BUF_ERROR)
      return Error(Code::kInvalidArgument, "damaged SPDY headers");
    const std::size_t made = out.size() - z.avail_out;
    plain.append(out.data(), made);
    if (plain.size() > kMaxHeaderBytes)
      return Error(Code::kInvalidArgument, "SPDY headers of more than 64 KiB");
    if (status == Z_BUF_ERROR && made == 0) break;
  }
  const Error damaged(Code::kInvalidArgument, "damaged SPDY headers");
  std::string_view rest = plain;
  auto take = [&](std::size_t size) -> std::optional<std::string_view> {
    if (rest.size() < size) return std::nullopt;
    const auto piece = rest.substr(0, size);
    rest.remove_prefix(size);
    return piece;
  };
  const auto count = take(4);
  if (!count || GetU32(*count) > kMaxHeaders) return damaged;
  std::vector<Header> headers;
  for (std::uint32_t i = 0; i < GetU32(*count); ++i) {
    std::array<std::string, 2> texts;
    for (std::string& text : texts) {
      const auto size = take(4);
      const auto value = size ? take(GetU32(*size)) : std::nullopt;
      if (!value) return damaged;
      text = *value;
    }
    headers.emplace_back(std::move(texts[0]), std::move(texts[1]));
  }
  return headers;
}

Result<std::optional<Frame>> Reader::Next() {
  if (buffer_.size() < kFrameHeader) return std::optional<Frame>();
  const std::string_view head(buffer_);
  const std::uint32_t first = GetU32(head);
  const auto flags = static_cast<std::uint8_t>(head[4]);
  const std::size_t size = GetU32(head.substr(4)) & 0xffffffU;
  if (size > kMaxFrame) return Error(Code::kInvalidArgument, "a SPDY frame of more than 1 MiB");
  if (buffer_.size() < kFrameHeader + size) return std::optional<Frame>();
  const std::string payload = buffer_.substr(kFrameHeader, size);
  buffer_.erase(0, kFrameHeader + size);

  Frame frame;
  frame.fin = (flags & kFin) != 0;
  if ((first & 0x80000000U) == 0) {
    frame.type = Frame::Type::kData;
    frame.stream = first;
    frame.data = payload;
    return std::optional<Frame>(std::move(frame));
  }
  if (((first >> 16) & 0x7fffU) != kVersion)
    return Error(Code::kInvalidArgument, "a SPDY frame of another version");
  const auto type = static_cast<std::uint16_t>(first & 0xffffU);
  const std::size_t least = type == kSynStream   ? 10
                            : type == kRstStream ? 8
                            : type == kPing      ? 4
                                                 : 0;
  if (payload.size() < least)
    return Error(Code::kInvalidArgument, "a SPDY frame that is too short");
  if (least > 0) frame.stream = GetU32(payload) & 0x7fffffffU;
  switch (type) {
    case kSynStream: {
      frame.type = Frame::Type::kSynStream;
      frame.headers = TRY(ReadHeaders(std::string_view(payload).substr(10)));
      break;
    }
    case kRstStream:
      frame.type = Frame::Type::kReset;
      break;
    case kPing:
      frame.type = Frame::Type::kPing;
      break;
    case kGoAway:
      frame.type = Frame::Type::kGoAway;
      break;
    default:
      break;
  }
  return std::optional<Frame>(std::move(frame));
}

struct Writer::Deflater {
  z_stream stream{};
  Deflater() {
    ASSERT(deflateInit(&stream, Z_BEST_COMPRESSION) == Z_OK);
    const std::string& dictionary = Dictionary();
    ASSERT(deflateSetDictionary(&stream, ZBytes(dictionary),
                                static_cast<uInt>(dictionary.size())) == Z_OK);
  }
  ~Deflater() { deflateEnd(&stream); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;
};

Writer::Writer() : deflater_(std::make_unique<Deflater>()) {}
Writer::~Writer() = default;

std::string Writer::SynReply(std::uint32_t stream, const std::vector<Header>& headers) {
  std::string plain;
  PutU32(plain, static_cast<std::uint32_t>(headers.size()));
  for (const auto& [name, value] : headers) {
    PutU32(plain, static_cast<std::uint32_t>(name.size()));
    plain += name;
    PutU32(plain, static_cast<std::uint32_t>(value.size()));
    plain += value;
  }
  std::string payload;
  PutU32(payload, stream);
  z_stream& z = deflater_->stream;
  z.next_in = ZBytes(plain);
  z.avail_in = static_cast<uInt>(plain.size());
  std::array<char, 4096> out;
  do {
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = out.size();
    ASSERT(deflate(&z, Z_SYNC_FLUSH) != Z_STREAM_ERROR);
    payload.append(out.data(), out.size() - z.avail_out);
  } while (z.avail_out == 0);
  return ControlFrame(kSynReply, payload);
}

std::string Writer::Data(std::uint32_t stream, std::string_view bytes, bool fin) {
  std::string frame;
  PutU32(frame, stream);
  PutU32(frame, static_cast<std::uint32_t>(bytes.size()) | (fin ? std::uint32_t{kFin} << 24 : 0));
  frame += bytes;
  return frame;
}

std::string Writer::Ping(std::uint32_t id) {
  std::string payload;
  PutU32(payload, id);
  return ControlFrame(kPing, payload);
}

std::string Writer::GoAway(std::uint32_t last_stream) {
  std::string payload;
  PutU32(payload, last_stream);
  PutU32(payload, 0);  // no error
  return ControlFrame(kGoAway, payload);
}

}  // namespace thinsnap::streams::spdy
