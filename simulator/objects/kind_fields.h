// The tables of field rules: by kind, and those of pods, which many kinds carry.
#pragma once

#include <span>
#include <string_view>

#include "simulator/objects/field_rules.h"

namespace thinsnap::objects {

// By "jobs.batch"; kinds without rules pass.
void CheckKindFields(std::string_view group_resource, const Json& object,
                     schema::FieldErrors& errors);

// What an update may not change, by the same names; path, and how the server tells it.
struct ImmutableField {
  std::string_view resource, path, told, why = "field is immutable";
  bool forbidden = false;
};
std::span<const ImmutableField> ImmutableFields();

extern const std::span<const FieldRule> kPodFields;        // of a pod's spec
extern const std::span<const FieldRule> kContainerFields;  // of a container
extern const std::span<const FieldRule> kProbeFields;      // of one of its probes

}  // namespace thinsnap::objects
