// Templates filled with JSON.
#include "stages/report/html/template.h"

#include "storage/error.h"

#include <gtest/gtest.h>

#include <string>

namespace couplet {
namespace {

std::string filled(const std::string& text, const Json& data, Escape escape = Escape::html) {
  return render({{"page", text}, {"item", "{{^first}}{{#last}} and {{/last}}{{^last}}, {{/last}}{{/first}}{{.}}"}},
                "page", data, escape);
}

std::string error_of(const std::string& text, const Json& data) {
  try {
    filled(text, data);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Template, ShowsValuesEscaped) {
  const Json data{{"text", "<a href='x'> & \"co\""}, {"count", 0}, {"share", 0.25}, {"of", {{"model", "nf"}}}};
  EXPECT_EQ(filled("{{text}}", data), "&lt;a href=&#39;x&#39;&gt; &amp; &quot;co&quot;");
  EXPECT_EQ(filled("{{{text}}}", data), "<a href='x'> & \"co\"");
  EXPECT_EQ(filled("{{text}}", data, Escape::none), "<a href='x'> & \"co\"");
  EXPECT_EQ(filled("{{count}} {{share}} {{of.model}}", data), "0 0.25 nf");
}

TEST(Template, NothingIsFalse) {
  for (const Json& nothing : {Json(), Json(false), Json(""), Json::array()})
    EXPECT_EQ(filled("{{#x}}yes{{x}}{{/x}}{{^x}}no{{x}}{{/x}}{{#has_x}}any{{/has_x}}", {{"x", nothing}}), "no");
  for (const Json& something : {Json(true), Json(0), Json("a"), Json::object()})
    EXPECT_EQ(filled("{{#x}}yes{{/x}}{{^x}}no{{/x}}{{#has_x}}any{{/has_x}}", {{"x", something}}), "yesany");
}

TEST(Template, KnowsPlacesInAList) {
  const Json data{{"nfe", {1, 2, 4, 8}}, {"names", {{{"name", "a"}}, {{"name", "b"}}}}};
  EXPECT_EQ(filled("NFE {{#nfe}}{{>item}}{{/nfe}}", data), "NFE 1, 2, 4 and 8");
  EXPECT_EQ(filled("{{#names}}{{^first}}; {{/first}}{{name}}{{/names}}", data), "a; b");
  EXPECT_EQ(filled("{{#has_nfe}}{{#nfe}}{{.}}{{/nfe}}.{{/has_nfe}}", data), "1248.");
}

TEST(Template, AsksForTheNearestKind) {
  const Json data{{"kind", "pairing"}, {"figures", {{{"kind", "psnr"}}, {{"kind", "ssim"}}}}};
  EXPECT_EQ(filled("{{#is_pairing}}{{#figures}}{{#is_psnr}}P{{/is_psnr}}{{#is_ssim}}S{{/is_ssim}}{{#is_pairing}}-{{/"
                   "is_pairing}}{{/figures}}{{/is_pairing}}",
                   data),
            "PS");
}

TEST(Template, TagsOnLinesOfTheirOwnLeaveNoLine) {
  EXPECT_EQ(filled("a\n{{#x}}\nb\n{{/x}}\n{{! a comment }}\n{{^x}}\nc\n{{/x}}\nd\n", {{"x", false}}), "a\nc\nd\n");
  EXPECT_EQ(filled("{{#list}}\n{{.}}\n{{/list}}\nend", {{"list", {"a", "b"}}}), "a\nb\nend");
}

TEST(Template, WhatTheDataDoesNotHaveIsAnError) {
  EXPECT_EQ(error_of("{{nmae}}", {{"name", "nf"}}), "template page: the data has no 'nmae'");
  EXPECT_EQ(error_of("{{#has_nmaes}}{{/has_nmaes}}", {{"names", {1}}}), "template page: the data has no 'has_nmaes'");
  EXPECT_EQ(error_of("{{#is_teacher}}{{/is_teacher}}", {{"name", 1}}),
            "template page: the data has no 'kind' that could be 'teacher'");
  EXPECT_EQ(error_of("{{name.first}}", {{"name", "nf"}}), "template page: the data has no 'name.first'");
  EXPECT_EQ(error_of("{{>other}}", {{"name", 1}}), "template page: there is no partial 'other'");
  EXPECT_NE(error_of("{{#name}}", {{"name", 1}}).find("Unclosed section"), std::string::npos);
  EXPECT_THROW(render({}, "page", {}), Error);
}

TEST(ReportTemplates, AreCompiledIn) {
  ASSERT_TRUE(report_templates().contains("page"));
  EXPECT_TRUE(report_templates().at("style").starts_with(":root"));
  EXPECT_FALSE(report_templates().at("item").ends_with("\n"));
}

}  // namespace
}  // namespace couplet
