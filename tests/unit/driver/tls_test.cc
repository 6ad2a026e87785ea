// Who may speak to a node over the network: only holders of a certificate of the drivers' authority
// that is valid now; and the controller believes only a node that shows one.
#include <gtest/gtest.h>

#include "base/net/certificate.h"
#include "csi/driver/run_node.h"
#include "csi/proto/csi_client.h"
#include "tests/sanity/node_under_test.h"

namespace thinsnap::driver {
namespace {

class TlsTest : public testing::Test {
 protected:
  TlsTest() : world_(MakeSimWorld()) {
    authority_ = Authority();
    server_tls_ = Issue(authority_);
  }

  net::KeyPair Authority() {
    auto authority = net::MakeAuthority("test", world_->clock);
    EXPECT_TRUE(authority.ok());
    return authority.ok() ? std::move(*authority) : net::KeyPair();
  }
  proto::TlsFiles Issue(const net::KeyPair& authority, Duration validity = std::chrono::hours(1),
                        const std::string& name = kTlsName) {
    net::CertificateRequest request;
    request.common_name = name;
    request.dns_names = {name};
    request.validity = validity;
    auto pair = net::IssueCertificate(authority, request, world_->clock);
    EXPECT_TRUE(pair.ok());
    if (!pair.ok()) return {};
    return {authority_.cert_pem, pair->cert_pem, pair->key_pem};
  }
  void StartNode() {
    world_->options.listen_address = "127.0.0.1:0";
    world_->options.tls = &server_tls_;
    node_ = std::make_unique<NodeUnderTest>(*world_);
  }
  // What the node answers to whoever has these.
  Result<csi::v1::ListVolumesResponse> Ask(const proto::TlsFiles* tls) {
    proto::ClientOptions options;
    options.tls = tls;
    options.server_name = kTlsName;
    const auto client = proto::ConnectCsi(world_->runtime, node_->address(), options);
    return client->ListVolumes({world_->clock.MonoNow() + std::chrono::seconds(20)}, {});
  }

  std::unique_ptr<NodeWorld> world_;
  net::KeyPair authority_;
  proto::TlsFiles server_tls_;
  std::unique_ptr<NodeUnderTest> node_;
};

TEST_F(TlsTest, CertificateOfTheAuthorityIsBelieved) {
  StartNode();
  const proto::TlsFiles mine = Issue(authority_);
  const auto answer = Ask(&mine);
  EXPECT_TRUE(answer.ok()) << answer.error().ToString();
}

TEST_F(TlsTest, WithoutTlsNobodyIsHeard) {
  StartNode();
  EXPECT_TRUE(Ask(nullptr).Is(Code::kUnavailable));
}

TEST_F(TlsTest, WithoutACertificateNobodyIsHeard) {
  StartNode();
  const proto::TlsFiles none = {authority_.cert_pem, "", Secret("")};
  EXPECT_TRUE(Ask(&none).Is(Code::kUnavailable));
}

TEST_F(TlsTest, AnotherAuthorityIsNotBelieved) {
  StartNode();
  const proto::TlsFiles foreign = Issue(Authority());
  EXPECT_TRUE(Ask(&foreign).Is(Code::kUnavailable));
}

TEST_F(TlsTest, ExpiredCertificateIsNotBelieved) {
  StartNode();
  const proto::TlsFiles expired = Issue(authority_, -std::chrono::hours(1));
  EXPECT_TRUE(Ask(&expired).Is(Code::kUnavailable));
}

TEST_F(TlsTest, NodeWithAForeignOrExpiredOrMisnamedCertificateIsNotBelieved) {
  const proto::TlsFiles mine = Issue(authority_);
  // It believes our authority, but what it shows is not worth believing.
  for (const proto::TlsFiles& shown :
       {Issue(Authority()), Issue(authority_, -std::chrono::hours(1)),
        Issue(authority_, std::chrono::hours(1), "somebody-else")}) {
    server_tls_ = shown;
    StartNode();
    EXPECT_TRUE(Ask(&mine).Is(Code::kUnavailable));
    node_.reset();
  }
}

}  // namespace
}  // namespace thinsnap::driver
