#include "snapshotter/operator/backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/yaml.h"
#include "snapshotter/api/kinds.h"

namespace thinsnap::backup {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Json Storage(const std::string& storage) {
  return *ParseYaml("metadata: {name: s3-storage, namespace: demo}\nspec: {storage: " + storage +
                    "}");
}

// key-id and secret-key in base64.
Json Keys() {
  return *ParseYaml(
      "metadata: {name: s3-secret, namespace: demo}\n"
      "data: {AWS_ACCESS_KEY_ID: a2V5LWlk, AWS_SECRET_ACCESS_KEY: c2VjcmV0LWtleQ==}");
}

std::string Refusal(const std::string& storage, const Json* secret = nullptr) {
  const auto location = StorageLocation(Storage(storage), secret);
  return location.ok() ? "" : location.error().message();
}

TEST(BackendTest, MakesUrls) {
  const auto keys = Keys();
  const auto local =
      StorageLocation(Storage("{provider: s3, s3: {endpoint: 'http://127.0.0.1:9000/', bucket: b, "
                              "prefix: /demo/, region: eu, "
                              "insecureTLS: true, maxConnections: 3}}"),
                      &keys);
  ASSERT_TRUE(local.ok());
  EXPECT_EQ(local->url, "s3+http://127.0.0.1:9000/b/demo");
  EXPECT_EQ(local->region, "eu");
  EXPECT_TRUE(local->insecure_tls);
  EXPECT_EQ(local->max_connections, 3);
  EXPECT_EQ(local->credentials.access_key_id, "key-id");
  EXPECT_EQ(local->credentials.secret_access_key.Reveal(), "secret-key");
  EXPECT_EQ(StorageLocation(Storage("{provider: s3, s3: {bucket: b}}"), nullptr)->url, "s3://b");
  EXPECT_EQ(StorageLocation(
                Storage("{provider: s3, s3: {bucket: b, endpoint: us-east-1.linodeobjects.com}}"),
                nullptr)
                ->url,
            "s3+https://us-east-1.linodeobjects.com/b");
  EXPECT_EQ(
      StorageLocation(Storage("{provider: local, local: {hostPath: {path: /backups}, subPath: x}}"),
                      nullptr)
          .error()
          .code(),
      Code::kInvalidArgument);
  EXPECT_EQ(Below(*local, "/dir/sub/").url, "s3+http://127.0.0.1:9000/b/demo/dir/sub");
  EXPECT_EQ(Below(*local, "/").url, local->url);
}

TEST(BackendTest, RefusalsNameObjectFieldFoundAndAccepted) {
  EXPECT_THAT(Refusal("{provider: gcs, gcs: {bucket: b}}"),
              AllOf(HasSubstr("BackupStorage demo/s3-storage"), HasSubstr("spec.storage.provider"),
                    HasSubstr("gcs"), HasSubstr("is s3")));
  EXPECT_THAT(Refusal("{provider: s3, s3: {bucket: a/b}}"), HasSubstr("spec.storage.s3.bucket"));
  EXPECT_THAT(Refusal("{provider: s3, s3: {bucket: b, endpoint: 'ftp://x'}}"),
              HasSubstr("ftp://x"));
  EXPECT_THAT(Refusal("{provider: s3}"), HasSubstr("spec.storage.s3"));
  EXPECT_THAT(Refusal("{provider: local, local: {nfs: {server: s, path: /p}}}"),
              HasSubstr("\"local\""));
}

TEST(BackendTest, NamesTheMissingKeyAndNoSecret) {
  auto keys = Keys();
  Remove(keys, "data.AWS_SECRET_ACCESS_KEY");
  EXPECT_THAT(Refusal("{provider: s3, s3: {bucket: b, secretName: s3-secret}}", &keys),
              AllOf(HasSubstr("Secret demo/s3-secret"), HasSubstr("AWS_SECRET_ACCESS_KEY"),
                    Not(HasSubstr("key-id"))));
}

TEST(BackendTest, DriverSecretGoesThereAndBack) {
  DriverAccess access;
  access.id = "01abc";
  access.suite = repo::Suite::kSealed;
  access.location.url = "s3+http://127.0.0.1:9000/b/demo/dir";
  access.location.credentials.access_key_id = "key-id";
  access.location.credentials.secret_access_key = Secret("secret-key");
  access.passphrase = Secret("open sesame");
  access.namespaces = "demo";
  const auto secret = DriverSecret(access, "thinsnap-system");
  EXPECT_EQ(StringAt(secret, "metadata.name"), "thinsnap-repository-01abc");
  EXPECT_EQ(StringAt(secret, "metadata.namespace"), "thinsnap-system");
  EXPECT_EQ(StringIn(secret, "metadata.labels", "thinsnap.io/repository"), "01abc");
  EXPECT_EQ(SecretValue(secret, "suite")->Reveal(), "sealed");
  EXPECT_EQ(SecretValue(secret, "passphrase")->Reveal(), "open sesame");
  EXPECT_EQ(SecretValue(secret, "namespaces")->Reveal(), "demo");
  EXPECT_EQ(SecretValue(secret, "state")->Reveal(), "ready");
  const auto location = LocationOfDriverSecret(secret);
  ASSERT_TRUE(location.ok());
  EXPECT_EQ(location->url, access.location.url);
  EXPECT_EQ(location->credentials.secret_access_key.Reveal(), "secret-key");
  access.passphrase.reset();
  EXPECT_FALSE(SecretValue(DriverSecret(access, "x"), "passphrase"));
}

}  // namespace
}  // namespace thinsnap::backup
