// Who may speak to a node over the network, and of what: only the controller role, by a certificate
// of the drivers' authority that is valid now, and never of the verbs that mount; and the
// controller believes only what shows a node's certificate.
#include <gtest/gtest.h>

#include "base/net/certificate.h"
#include "csi/driver/role_certificates.h"
#include "csi/driver/run_node.h"
#include "csi/proto/csi_client.h"
#include "tests/sanity/node_under_test.h"

namespace thinsnap::driver {
namespace {

class TlsTest : public testing::Test {
 protected:
  TlsTest() : world_(MakeSimWorld()) {
    authority_ = Authority();
    server_tls_ = Issue(authority_, kNodeTlsName);
  }

  net::KeyPair Authority() {
    auto authority = net::MakeAuthority("test", world_->clock);
    EXPECT_TRUE(authority.ok());
    return authority.ok() ? std::move(*authority) : net::KeyPair();
  }
  proto::TlsFiles Issue(const net::KeyPair& authority, const std::string& name,
                        Duration validity = std::chrono::hours(1)) {
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
  std::unique_ptr<proto::CsiService> Connect(const proto::TlsFiles* tls) {
    proto::ClientOptions options;
    options.tls = tls;
    options.server_name = kNodeTlsName;
    return proto::ConnectCsi(world_->runtime, node_->address(), options);
  }
  proto::Call Patiently() { return {world_->clock.MonoNow() + std::chrono::seconds(20)}; }
  // What the node answers to whoever has these.
  Result<csi::v1::ListVolumesResponse> Ask(const proto::TlsFiles* tls) {
    return Connect(tls)->ListVolumes(Patiently(), {});
  }

  std::unique_ptr<NodeWorld> world_;
  net::KeyPair authority_;
  proto::TlsFiles server_tls_;
  std::unique_ptr<NodeUnderTest> node_;
};

TEST_F(TlsTest, CertificateOfTheAuthorityIsBelieved) {
  StartNode();
  const proto::TlsFiles mine = Issue(authority_, kControllerTlsName);
  const auto answer = Ask(&mine);
  EXPECT_TRUE(answer.ok()) << answer.error().ToString();
}

TEST_F(TlsTest, OnlyTheControllersCertificateIsHeard) {
  StartNode();
  // Each node has a certificate of the first name; the others are of the same authority.
  for (const std::string& name :
       {std::string(kNodeTlsName), std::string("thinsnap-operator"), std::string("thinsnap-csi"),
        std::string("localhost"), std::string("*"), "x." + std::string(kControllerTlsName),
        std::string(kControllerTlsName) + ".x"}) {
    const proto::TlsFiles other = Issue(authority_, name);
    const auto client = Connect(&other);
#define EXPECT_REFUSED(verb) \
  EXPECT_TRUE(client->verb(Patiently(), {}).Is(Code::kPermissionDenied)) << #verb << " " << name;
    THINSNAP_IDENTITY_VERBS(EXPECT_REFUSED)
    THINSNAP_CONTROLLER_VERBS(EXPECT_REFUSED)
#undef EXPECT_REFUSED
  }
}

// A common name is what anybody writes into a request; only the names that it is valid for count.
TEST_F(TlsTest, ACommonNameIsNoRole) {
  StartNode();
  net::CertificateRequest request;
  request.common_name = kControllerTlsName;
  request.dns_names = {kNodeTlsName};
  const auto pair = net::IssueCertificate(authority_, request, world_->clock);
  ASSERT_TRUE(pair.ok());
  const proto::TlsFiles other = {authority_.cert_pem, pair->cert_pem, pair->key_pem};
  EXPECT_TRUE(Ask(&other).Is(Code::kPermissionDenied));
}

TEST_F(TlsTest, VerbsThatMountDoNotExistOnTheNetwork) {
  StartNode();
  const proto::TlsFiles mine = Issue(authority_, kControllerTlsName);
  const auto client = Connect(&mine);
#define EXPECT_NOT_SERVED(verb)                                                 \
  EXPECT_TRUE(client->verb(Patiently(), {}).Is(Code::kUnimplemented)) << #verb; \
  EXPECT_FALSE(node_->client().verb(Patiently(), {}).Is(Code::kUnimplemented)) << #verb;
  THINSNAP_NODE_VERBS(EXPECT_NOT_SERVED)
#undef EXPECT_NOT_SERVED
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
  const proto::TlsFiles foreign = Issue(Authority(), kControllerTlsName);
  EXPECT_TRUE(Ask(&foreign).Is(Code::kUnavailable));
}

TEST_F(TlsTest, ExpiredCertificateIsNotBelieved) {
  StartNode();
  const proto::TlsFiles expired = Issue(authority_, kControllerTlsName, -std::chrono::hours(1));
  EXPECT_TRUE(Ask(&expired).Is(Code::kUnavailable));
}

TEST_F(TlsTest, NodeWithAForeignOrExpiredOrMisnamedCertificateIsNotBelieved) {
  const proto::TlsFiles mine = Issue(authority_, kControllerTlsName);
  // It believes our authority, but what it shows is not worth believing.
  for (const proto::TlsFiles& shown :
       {Issue(Authority(), kNodeTlsName), Issue(authority_, kNodeTlsName, -std::chrono::hours(1)),
        Issue(authority_, kControllerTlsName), Issue(authority_, "somebody-else")}) {
    server_tls_ = shown;
    StartNode();
    EXPECT_TRUE(Ask(&mine).Is(Code::kUnavailable));
    node_.reset();
  }
}

}  // namespace
}  // namespace thinsnap::driver
