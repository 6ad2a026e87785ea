#include "simulator/objects/table.h"

#include <chrono>

#include "simulator/objects/table_cells.h"
#include "tests/unit/schema/values.h"

namespace thinsnap::objects {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

const WallTime kNow = *ParseRfc3339("2026-01-02T03:04:05Z");

std::string Cells(std::string_view group, std::string_view resource, std::string_view object) {
  const schema::KindRef kind = BuiltinKind(group, resource);
  return ToJson(TableCells(*kind, kind->versions.front(), J(object), kNow));
}

TEST(TableTest, EveryKindFillsItsColumns) {
  for (const schema::KindRef& kind : schema::BuiltinKinds()) {
    const schema::KindVersion& version = kind->versions.front();
    if (version.columns.empty()) continue;
    const Json object =
        J(R"({"metadata":{"name":"n","creationTimestamp":"2026-01-02T03:04:00Z"}})");
    EXPECT_EQ(TableCells(*kind, version, object, kNow).size(), version.columns.size())
        << kind->group_resource();
  }
}

TEST(TableTest, TellsAges) {
  EXPECT_EQ(HumanDuration(seconds(0)), "0s");
  EXPECT_EQ(HumanDuration(seconds(119)), "119s");
  EXPECT_EQ(HumanDuration(minutes(3) + seconds(5)), "3m5s");
  EXPECT_EQ(HumanDuration(minutes(30) + seconds(5)), "30m");
  EXPECT_EQ(HumanDuration(hours(5) + minutes(7)), "5h7m");
  EXPECT_EQ(HumanDuration(hours(49)), "2d1h");
  EXPECT_EQ(HumanDuration(hours(24 * 30)), "30d");
  EXPECT_EQ(HumanAge("", kNow), "<unknown>");
}

TEST(TableTest, SaysWhatAPodDoes) {
  EXPECT_EQ(PodStatusText(J(R"({"status":{"phase":"Running"}})")), "Running");
  EXPECT_EQ(PodStatusText(J(R"({"status":{"phase":"Running","containerStatuses":[
      {"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}})")),
            "CrashLoopBackOff");
  EXPECT_EQ(PodStatusText(J(R"({"spec":{"initContainers":[{},{}]},"status":{"phase":"Pending",
      "initContainerStatuses":[{"state":{"terminated":{"exitCode":0}}},{"state":{"running":{}}}]}})")),
            "Init:1/2");
  EXPECT_EQ(
      PodStatusText(J(R"({"metadata":{"deletionTimestamp":"x"},"status":{"phase":"Running"}})")),
      "Terminating");
  EXPECT_EQ(PodReady(J(R"({"spec":{"containers":[{},{}]},
      "status":{"containerStatuses":[{"ready":true},{"ready":false}]}})")),
            "1/2");
}

TEST(TableTest, ShowsWhatIsOnlyKept) {
  EXPECT_EQ(
      Cells("networking.k8s.io", "ingresses",
            R"({"metadata":{"name":"i"},"spec":{"rules":[{"host":"a"},{"host":"b"}],"tls":[{}]}})"),
      R"(["i","<none>","a,b","","80, 443","<unknown>"])");
  EXPECT_EQ(Cells("policy", "poddisruptionbudgets",
                  R"({"metadata":{"name":"p"},"spec":{"minAvailable":"50%"}})"),
            R"(["p","50%","N/A",0,"<unknown>"])");
  EXPECT_EQ(
      Cells("autoscaling", "horizontalpodautoscalers",
            R"({"metadata":{"name":"h"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d"},
      "minReplicas":1,"maxReplicas":3,"metrics":[{"type":"Resource","resource":{"name":"cpu",
      "target":{"averageUtilization":80}}}]}})"),
      R"(["h","Deployment/d","cpu: <unknown>/80%","1","3","0","<unknown>"])");
}

TEST(TableTest, CarriesTheObjectAsAsked) {
  const schema::KindRef kind = BuiltinKind("", "configmaps");
  const schema::KindVersion& version = kind->versions.front();
  const Json object =
      J(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1"}})");
  const Json none = TableRow(*kind, version, object, IncludeObject::kNone, kNow);
  const Json metadata = TableRow(*kind, version, object, IncludeObject::kMetadata, kNow);
  const Json whole = TableRow(*kind, version, object, IncludeObject::kObject, kNow);
  EXPECT_EQ(StringAt(none, "object.kind"), "");
  EXPECT_EQ(StringAt(metadata, "object.kind"), "PartialObjectMetadata");
  EXPECT_EQ(Find(metadata, "object.data"), nullptr);
  EXPECT_EQ(StringAt(whole, "object.data.a"), "1");
}

}  // namespace
}  // namespace thinsnap::objects
