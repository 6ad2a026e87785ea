#include "simulator/apiserver/negotiate.h"

#include <gtest/gtest.h>

namespace thinsnap::apiserver {
namespace {

net::ServerRequest WithAccept(const std::string& accept) {
  net::ServerRequest request;
  if (!accept.empty()) request.headers.Add("Accept", accept);
  return request;
}

TEST(NegotiateTest, AnswersJsonToWhoeverAcceptsIt) {
  for (const std::string accept :
       {"", "*/*", "application/json", "application/vnd.kubernetes.protobuf, */*",
        "application/vnd.kubernetes.protobuf,application/json", "application/*"}) {
    const auto view = NegotiateView(WithAccept(accept));
    ASSERT_TRUE(view.ok()) << accept;
    EXPECT_EQ(view->shape, Shape::kFull);
    EXPECT_FALSE(view->yaml);
  }
}

TEST(NegotiateTest, TakesTheFirstShapeThatItCanMake) {
  const auto table =
      NegotiateView(WithAccept("application/json;as=Table;v=v1;g=meta.k8s.io,application/"
                               "json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"));
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table->shape, Shape::kTable);
  EXPECT_EQ(table->table_version, "v1");
  const auto metadata = NegotiateView(
      WithAccept("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
                 "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"));
  ASSERT_TRUE(metadata.ok());
  EXPECT_EQ(metadata->shape, Shape::kMetadata);
  EXPECT_TRUE(NegotiateView(WithAccept("application/yaml"))->yaml);
}

TEST(NegotiateTest, RefusesWhatItCannotMake) {
  for (const std::string accept :
       {"text/html", "application/json;as=Table;v=v9;g=meta.k8s.io", "application/cbor"}) {
    const auto view = NegotiateView(WithAccept(accept));
    ASSERT_FALSE(view.ok()) << accept;
    EXPECT_EQ(view.error().code, 406);
  }
}

TEST(NegotiateTest, KnowsBodiesAndPatches) {
  net::ServerRequest request;
  EXPECT_EQ(*NegotiateBody(request), schema::BodyFormat::kJson);
  request.headers.Set("Content-Type", "application/json; charset=utf-8");
  EXPECT_EQ(*NegotiateBody(request), schema::BodyFormat::kJson);
  request.headers.Set("Content-Type", "text/plain");
  EXPECT_EQ(NegotiateBody(request).error().code, 415);
  request.headers.Set("Content-Type", "application/strategic-merge-patch+json");
  EXPECT_EQ(*NegotiatePatch(request, false), registry::PatchKind::kStrategic);
  EXPECT_EQ(NegotiatePatch(request, true).error().code, 415);
}

}  // namespace
}  // namespace thinsnap::apiserver
