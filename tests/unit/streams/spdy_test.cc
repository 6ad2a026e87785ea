#include "simulator/streams/spdy.h"

#include <gtest/gtest.h>
#include <zlib.h>

namespace thinsnap::streams::spdy {
namespace {

// A SYN_STREAM as a client writes it, through the same compression state as the client's earlier
// ones.
class Client {
 public:
  Client() {
    EXPECT_EQ(deflateInit(&z_, Z_DEFAULT_COMPRESSION), Z_OK);
    const std::string& dictionary = Dictionary();
    EXPECT_EQ(deflateSetDictionary(&z_, reinterpret_cast<const Bytef*>(dictionary.data()),
                                   static_cast<uInt>(dictionary.size())),
              Z_OK);
  }
  ~Client() { deflateEnd(&z_); }

  std::string SynStream(std::uint32_t stream, const std::string& name, const std::string& value) {
    std::string plain = U32(1) + U32(name.size()) + name + U32(value.size()) + value;
    std::string packed(1024, '\0');
    z_.next_in = reinterpret_cast<Bytef*>(plain.data());
    z_.avail_in = static_cast<uInt>(plain.size());
    z_.next_out = reinterpret_cast<Bytef*>(packed.data());
    z_.avail_out = static_cast<uInt>(packed.size());
    EXPECT_EQ(deflate(&z_, Z_SYNC_FLUSH), Z_OK);
    packed.resize(packed.size() - z_.avail_out);
    const std::string payload = U32(stream) + U32(0) + std::string(2, '\0') + packed;
    return std::string("\x80\x03\x00\x01", 4) + U32(payload.size()) + payload;
  }

  static std::string U32(std::size_t value) {
    std::string out;
    for (const int shift : {24, 16, 8, 0}) out += static_cast<char>((value >> shift) & 0xff);
    return out;
  }

 private:
  z_stream z_{};
};

TEST(SpdyTest, HasTheDraftsDictionary) {
  const std::string& dictionary = Dictionary();
  EXPECT_EQ(dictionary.size(), 1423U);
  // The Adler-32 by which zlib streams name it.
  EXPECT_EQ(adler32(adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(dictionary.data()),
                    static_cast<uInt>(dictionary.size())),
            0xe3c6a7c2UL);
}

TEST(SpdyTest, ReadsStreamsAndDataInAnyPieces) {
  Client client;
  // One after the other: they share the compressor's state.
  std::string bytes = client.SynStream(1, "streamtype", "error");
  bytes += client.SynStream(3, "streamtype", "stdin");
  bytes += Writer::Data(3, "hello", false) + Writer::Data(3, "", true) + Writer::Ping(7);
  Reader reader;
  std::vector<Frame> frames;
  for (const char c : bytes) {
    reader.Append(std::string_view(&c, 1));
    for (;;) {
      auto frame = reader.Next();
      ASSERT_TRUE(frame.ok()) << frame.error().ToString();
      if (!*frame) break;
      frames.push_back(std::move(**frame));
    }
  }
  ASSERT_EQ(frames.size(), 5U);
  EXPECT_EQ(frames[0].stream, 1U);
  EXPECT_EQ(frames[0].headers, (std::vector<Header>{{"streamtype", "error"}}));
  EXPECT_EQ(frames[1].stream, 3U);
  EXPECT_EQ(frames[1].headers, (std::vector<Header>{{"streamtype", "stdin"}}));
  EXPECT_EQ(frames[2].type, Frame::Type::kData);
  EXPECT_EQ(frames[2].data, "hello");
  EXPECT_FALSE(frames[2].fin);
  EXPECT_TRUE(frames[3].fin);
  EXPECT_EQ(frames[4].type, Frame::Type::kPing);
  EXPECT_EQ(frames[4].stream, 7U);
}

TEST(SpdyTest, RefusesWhatIsNotSpdy) {
  for (const std::string& bytes :
       {std::string("\x80\x02\x00\x01\x00\x00\x00\x00", 8),
        std::string("\x80\x03\x00\x01\x00\x00\x00\x02zz", 10),
        std::string("\x00\x00\x00\x01\x00\xff\xff\xff", 8),
        std::string("\x80\x03\x00\x01\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00junk",
                    22)}) {
    Reader reader;
    reader.Append(bytes);
    const auto frame = reader.Next();
    EXPECT_TRUE(frame.Is(Code::kInvalidArgument));
  }
}

}  // namespace
}  // namespace thinsnap::streams::spdy
