#include "pipeline/config/options.h"

#include "pipeline/config/validation.h"
#include "storage/error.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

namespace couplet {
namespace {

/// A file in the test's own directory.
std::filesystem::path write_ini(const std::string& text) {
  const auto path = std::filesystem::path(testing::TempDir()) / "options_test.ini";
  std::ofstream(path) << text;
  return path;
}

/// What the refusal of `work` says; it must be one, with the status of refusals.
template <class Work>
std::string refusal(Work work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

std::string refused_keys(const std::vector<Setting>& settings) {
  return refusal([&] { resolve_config("", settings); });
}

std::string refused_file(const std::string& text) {
  return refusal([&] { resolve_config(write_ini(text), {}); });
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Options, EachHasItsOwnNameAndField) {
  Config config;
  std::set<std::string> keys;
  std::set<void*> fields;
  for (const auto& option : options()) {
    EXPECT_TRUE(keys.insert(option.key).second) << option.key;
    EXPECT_TRUE(fields.insert(std::visit([](auto* field) -> void* { return field; }, option.field(config))).second)
        << option.key << " sets a field that another option sets";
    EXPECT_FALSE(option.help.empty()) << option.key;
  }
  EXPECT_GT(keys.size(), 90U);
}

TEST(Options, EveryValueSurvivesTheIniFile) {
  Config config = default_config();
  // Another value than the default for each option, so that none is read back by luck.
  int changed = 0;
  for (const auto& option : options()) {
    const auto field = option.field(config);
    std::string text;
    if (std::holds_alternative<bool*>(field)) text = option.default_text == "true" ? "false" : "true";
    if (std::holds_alternative<std::string*>(field))
      text = option.is_path ? "/a b" : option.allowed.empty() ? "a b" : option.allowed.back();
    if (std::holds_alternative<double*>(field) && option.minimum <= 0) text = "0.1234567890123";
    if (text.empty()) continue;
    set_value(config, {option.key, text, "test"});
    ++changed;
  }
  set_value(config, {"student.seeds", "3, 1 2", "test"});
  set_value(config, {"pipeline.seed", "9007199254740991", "test"});
  set_value(config, {"evaluate.guidance", "2.5, 1", "test"});
  set_value(config, {"evaluate.guidance-to", "0.9876543210987", "test"});
  set_value(config, {"evaluate.times", "0 0.1234567890123 1", "test"});
  set_value(config, {"couple.ema", "0", "test"});            // is a rate of the teacher's, or none
  set_value(config, {"student.init-from", "", "test"});      // would be a second start of the weights
  set_value(config, {"prepare.condition", "none", "test"});  // is of pixels, and models see latents
  EXPECT_GT(changed, 40);

  for (const bool brief : {false, true}) {
    const Config again = resolve_config(write_ini(to_ini(config, brief)), {});
    for (const auto& option : options())
      EXPECT_EQ(value_text(again, option.key), value_text(config, option.key)) << option.key;
    EXPECT_EQ(to_ini(again), to_ini(config));
  }
  EXPECT_EQ(config.student.seeds, (std::vector<std::int64_t>{3, 1, 2}));
}

TEST(Options, EqualValuesHaveEqualTexts) {
  const Config one = resolve_config("", {{"teacher.learning-rate", "2e-3", ""}});
  const Config two = resolve_config("", {{"teacher.learning-rate", "0.002", ""}});
  EXPECT_EQ(value_text(one, "teacher.learning-rate"), value_text(two, "teacher.learning-rate"));
}

TEST(Options, CommandLineComesAfterTheFile) {
  const auto file = write_ini("[teacher]\nchannels = 256 # wide\n\n[student]\nseeds = 0 1\n");
  const Config config = resolve_config(file, {{"teacher.channels", "192", "command line"}});
  EXPECT_EQ(config.teacher.channels, 192);
  EXPECT_EQ(config.student.seeds.size(), 2U);
}

// On 10a555e teacher.flips = false alone filled half of the table with images that the teacher had never seen.
TEST(Options, ATableHoldsTheMirrorImagesThatItsTeacherHasSeen) {
  EXPECT_TRUE(resolve_config("", {}).couple.flips);
  EXPECT_FALSE(resolve_config("", {{"teacher.flips", "false", ""}}).couple.flips);
  EXPECT_FALSE(resolve_config(write_ini("[teacher]\nflips = false\n"), {}).couple.flips);
  EXPECT_FALSE(resolve_config("", {{"couple.flips", "false", ""}}).couple.flips);
  EXPECT_SAYS(refused_keys({{"teacher.flips", "false", ""}, {"couple.flips", "true", ""}}),
              "mirror images that the teacher has never seen; set couple.flips = false too");
}

// On 10a555e every data set was called Fashion-MNIST unless prepare.name said otherwise.
TEST(Options, ADataSetIsCalledAsItsSource) {
  const auto name = [](const std::vector<Setting>& settings) {
    return dataset_name(resolve_config("", settings).prepare);
  };
  EXPECT_EQ(name({}), "Fashion-MNIST");
  EXPECT_EQ(name({{"prepare.source", "/data/mnist", ""}}), "mnist");
  EXPECT_EQ(name({{"prepare.source", "/data/mnist/", ""}}), "mnist");
  EXPECT_EQ(name({{"prepare.source", "/data/gr\xFC", ""}}), "gr\\xFC");
  EXPECT_EQ(name({{"prepare.source", "/data/mnist", ""}, {"prepare.name", "MNIST", ""}}), "MNIST");
  EXPECT_EQ(result_facts(resolve_config("", {})).at("prepare.name"), "Fashion-MNIST");
}

// On 10a555e Euler and Heun steps could not be left out.
TEST(Options, OneWayOfSamplingIsEnough) {
  const Setting no_euler{"evaluate.euler-nfe", "", ""}, no_heun{"evaluate.heun-nfe", "", ""};
  EXPECT_TRUE(resolve_config("", {no_euler, no_heun, {"evaluate.dopri5", "true", ""}}).evaluate.dopri5);
  EXPECT_NO_THROW(resolve_config("", {no_euler, no_heun, {"evaluate.ancestral-nfe", "50", ""}}));
  EXPECT_EQ(resolve_config("", {no_euler}).evaluate.euler_nfe.size(), 0U);
  EXPECT_SAYS(refused_keys({no_euler, no_heun}), "no sampling is asked for");
}

TEST(Options, RowsAtOnceDecideNoResult) {
  EXPECT_EQ(find_option("evaluate.rows-at-once").kind, OptionKind::execution);
  EXPECT_EQ(resolve_config("", {}).evaluate.rows_at_once, 0);
}

TEST(Options, AMarkOfUtf8IsNoPartOfTheText) {
  EXPECT_EQ(resolve_config(write_ini("\xEF\xBB\xBF[teacher]\r\nchannels = 256\r\n"), {}).teacher.channels, 256);
  EXPECT_EQ(resolve_config(write_ini("\xEF\xBB\xBF"), {}).teacher.channels, default_config().teacher.channels);
  EXPECT_SAYS(refused_file(std::string("\xFF\xFE[\0t\0", 6)), "UTF-16");
}

TEST(Options, AnEmptyFileSetsNothing) {
  EXPECT_EQ(to_ini(resolve_config(write_ini(""), {})), to_ini(resolve_config("", {})));
  EXPECT_SAYS(refusal([] { resolve_config(testing::TempDir(), {}); }), "cannot read the configuration file");
}

TEST(Options, NoValueIsCutAtAHash) {
  EXPECT_EQ(resolve_config(write_ini("# a\n[teacher] # b\nchannels = 256\t# c\n  # d\n"), {}).teacher.channels, 256);
  const std::string cut = refused_file("[prepare]\nsource = /data/run#3\n");
  EXPECT_SAYS(cut, "options_test.ini:2");
  EXPECT_SAYS(cut, "/data/run#3");
}

TEST(Options, WrongFilesAreRefusedWithTheLine) {
  const std::string unknown = refused_file("[teacher]\nchannels = 128\n\nchanels = 64\n");
  EXPECT_SAYS(unknown, "options_test.ini:4");
  EXPECT_SAYS(unknown, "teacher.chanels");
  EXPECT_SAYS(unknown, "nearest is teacher.channels");
  EXPECT_SAYS(refused_file("[teacher]\nchannels = 128\nchannels = 64\n"), "options_test.ini:3");
  EXPECT_SAYS(refused_file("[teacher]\nchannels 128\n"), "options_test.ini:2");
  EXPECT_SAYS(refused_file("\n\n[teacher]\nchannels = 12x\n"), "options_test.ini:4");
  EXPECT_SAYS(refusal([] { resolve_config("/does/not/exist.ini", {}); }), "/does/not/exist.ini");
}

TEST(Options, WrongValuesAreRefusedWithWhatIsAllowed) {
  const std::string range = refused_keys({{"teacher.label-drop", "1.5", "command line"}});
  EXPECT_SAYS(range, "teacher.label-drop");
  EXPECT_SAYS(range, "1.5");
  EXPECT_SAYS(range, "0 … 1");
  EXPECT_SAYS(refused_keys({{"teacher.noise", "gausian", ""}}), "gaussian, uniform");
  EXPECT_SAYS(refused_keys({{"evaluate.grids", "uniform cubed", ""}}), "uniform, squared");
  EXPECT_SAYS(refused_keys({{"teacher.flips", "1", ""}}), "true or false");
  for (const std::string text : {"", " ", "nan", "inf", "0x10", "1e3", "12 "})
    EXPECT_SAYS(refused_keys({{"teacher.channels", text, ""}}), "teacher.channels");
  EXPECT_SAYS(refused_keys({{"teacher.noise-std", "nan", ""}}), "teacher.noise-std");
  EXPECT_SAYS(refused_keys({{"teacher.init", "a#b", ""}}), "teacher.init");
}

TEST(Options, TextsAreUtf8AndPathsAnyBytes) {
  EXPECT_EQ(resolve_config("", {{"prepare.name", "Gr\u00f6\u00dfe", ""}}).prepare.name, "Gr\u00f6\u00dfe");
  const std::string latin = refused_keys({{"prepare.name", "Gr\xF6", "command line"}});
  EXPECT_SAYS(latin, "prepare.name = \"Gr\\xF6\" (command line): is no UTF-8");
  EXPECT_SAYS(refused_keys({{"evaluate.network-args", "a=\xF6", ""}}), "evaluate.network-args");
  EXPECT_SAYS(refused_file("[prepare]\nname = Gr\xF6\n"), "options_test.ini:2");
  const Config config = resolve_config("", {{"prepare.source", "/data/gr\xFC", ""}});
  EXPECT_EQ(config.prepare.source, "/data/gr\xFC");
  EXPECT_EQ(result_facts(config).at("prepare.source"), "/data/gr\\xFC");
}

TEST(Options, KeysThatDoNotFitTogetherAreRefused) {
  const std::string width = refused_keys({{"teacher.channels", "100", ""}});
  EXPECT_SAYS(width, "teacher.channels = 100");
  EXPECT_SAYS(width, "teacher.head-size = 64");
  EXPECT_SAYS(width, "64 or 128");
  EXPECT_SAYS(refused_keys({{"couple.shard-rows", "1000", ""}}), "couple.block-rows");
  EXPECT_SAYS(refused_keys({{"evaluate.heun-nfe", "3 4", ""}}), "3 or 5");
  EXPECT_SAYS(refused_keys({{"evaluate.midpoint-nfe", "5", ""}}), "4 or 6");
  EXPECT_SAYS(refused_keys({{"evaluate.rk4-nfe", "4 10", ""}}), "8 or 12");
  EXPECT_SAYS(refused_keys({{"evaluate.corrector-nfe", "5", ""}}), "4 or 6");
  EXPECT_SAYS(refused_keys({{"evaluate.sde-nfe", "5 5", ""}}), "twice");
  EXPECT_SAYS(refused_keys({{"evaluate.tolerances", "", ""}, {"evaluate.tolerance-samples", "8", ""}}),
              "tolerances is empty");
  for (const char* times : {"0.5", "0 0.5", "0.1 1", "0 0.5 0.5 1", "1 0"})
    EXPECT_SAYS(refused_keys({{"evaluate.times", times, ""}}), "from 0 to 1");
  EXPECT_SAYS(refused_keys({{"evaluate.guidance-from", "0.2", ""}}), "evaluate.guidance = 1, which is none");
  EXPECT_SAYS(refused_keys({{"evaluate.likelihood-samples", "5", ""}}), "set likelihood-probes = 0, the exact trace");
  EXPECT_SAYS(refused_keys({{"evaluate.guidance", "2", ""}, {"evaluate.guidance-to", "0", ""}}), "is not below");
  EXPECT_SAYS(refused_keys({{"student.seeds", "1 2 1", ""}}), "student.seeds");
  EXPECT_SAYS(refused_keys({{"student.compare", "nf nf", ""}}), "twice");
  EXPECT_TRUE(resolve_config("", {{"student.compare", "", ""}}).compare.empty()) << "the teacher alone";
  EXPECT_SAYS(refused_keys({{"evaluate.guidance", "2 2", ""}}), "twice");
  EXPECT_SAYS(refused_keys({{"evaluate.temperature", "0.9 0.9", ""}}), "twice");
  EXPECT_SAYS(refused_keys({{"evaluate.temperature", "", ""}}), "evaluate.temperature is empty");
  EXPECT_SAYS(refused_keys({{"evaluate.ema", "0.5", ""}}), "student.ema = 0.999");
  EXPECT_SAYS(refused_keys({{"couple.ema", "0.5", ""}}), "teacher.ema = 0.999");
}

TEST(Options, BatchesDivideByTheRanks) {
  const Config config =
      resolve_config("", {{"teacher.batch", "32", ""}, {"student.batch", "48", ""}, {"features.batch", "96", ""}});
  EXPECT_NO_THROW(validate_ranks(config, 4, "teacher"));
  EXPECT_NO_THROW(validate_ranks(config, 3, "student", "nf"));
  EXPECT_NO_THROW(validate_ranks(config, 5, "prepare"));
  const std::string message = refusal([&] { validate_ranks(config, 3, "teacher"); });
  EXPECT_SAYS(message, "teacher.batch = 32");
  EXPECT_SAYS(message, "30 or 33");
  EXPECT_SAYS(message, "1, 2, 4, 8, 16, 32");
  EXPECT_SAYS(refusal([&] { validate_ranks(config, 3, "autoencoder"); }), "autoencoder.batch = 64");
}

TEST(Students, InheritEveryKeyThatIsNotTheirOwn) {
  const auto file = write_ini(
      "[student]\ncompare = nf wide\nchannels = 48\nseeds = 0 1\n\n[student.wide]\ncoupling = nf\nchannels = 96\nema = "
      "0.9 0.99\n");
  const Config config = resolve_config(file, {{"student.wide.depth", "7", "command line"}});
  const StudentConfig nf = student_config(config, "nf"), wide = student_config(config, "wide");
  EXPECT_EQ(nf.channels, 48);
  EXPECT_EQ(nf.coupling, "nf");
  EXPECT_EQ(wide.channels, 96);
  EXPECT_EQ(wide.depth, 7);
  EXPECT_EQ(wide.coupling, "nf");
  EXPECT_EQ(wide.training.ema, (std::vector<double>{0.9, 0.99}));
  EXPECT_EQ(wide.seeds, (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(config.student.channels, 48);
  EXPECT_EQ(config.student.depth, default_config().student.depth);
}

TEST(Students, SectionsSurviveTheIniFile) {
  const Config config = resolve_config("", {{"student.compare", "nf", ""},
                                            {"student.wide.channels", "192", ""},
                                            {"student.wide.seeds", "3 4", ""},
                                            {"student.nf.images", "1000", ""}});
  const Config again = resolve_config(write_ini(to_ini(config)), {});
  EXPECT_EQ(again.student_sections, config.student_sections);
  EXPECT_EQ(again.student_sections.at("wide").at("seeds"), "3 4");
  EXPECT_EQ(to_ini(again), to_ini(config));
}

TEST(Students, WrongSectionsAreRefused) {
  const std::string unknown = refused_file("[student.nf]\nchannels = 48\nchanels = 64\n");
  EXPECT_SAYS(unknown, "options_test.ini:3");
  EXPECT_SAYS(unknown, "nearest is student.nf.channels");
  EXPECT_SAYS(refused_file("[student.nf]\nchannels = x\n"), "options_test.ini:2");
  EXPECT_SAYS(refused_keys({{"student.nf.compare", "nf", ""}}), "unknown key student.nf.compare");
  for (const char* name : {"nf-2", "a b", "-nf", "teacher", "real", "a.b"})
    EXPECT_SAYS(refused_keys({{std::string("student.") + name + ".channels", "48", ""}}), name);
  EXPECT_SAYS(refused_keys({{"student.compare", "nf-2", ""}}), "nf-2");
  // The name of the key before there were names of students.
  EXPECT_SAYS(refused_keys({{"student.couplings", "nf", ""}}), "student.compare");
  EXPECT_SAYS(refused_keys({{"student.field", "sit", ""}}), "student.network");
  EXPECT_SAYS(refused_file("[student]\ncouplings = nf\n"), "student.compare");
}

TEST(Options, AKeyOfAnotherNameIsRefusedWithTheNewOne) {
  EXPECT_SAYS(refused_keys({{"evaluate.companion-images", "0", ""}}), "evaluate.pairwise-images");
}

// A library's exception came of it before.
TEST(Paths, ThatTheSystemCannotLookUpAreRefusedWithTheReason) {
  const std::string name(300, 'a');
  const std::string said = refusal([&] { resolve_config("", {{"teacher.init", name, "--teacher.init"}}); });
  EXPECT_SAYS(said, name);
  EXPECT_SAYS(said, "File name too long");
}

TEST(Paths, OfAFileCountFromItsFolderAndOfTheCommandLineFromHere) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "options_test_paths";
  std::filesystem::create_directories(folder / "sub");
  std::ofstream(folder / "weights") << "w";
  std::ofstream(folder / "sub" / "paths.ini") << "[teacher]\ninit = ../weights\n";
  EXPECT_EQ(resolve_config(folder / "sub" / "paths.ini", {}).teacher.init, (folder / "weights").string());
  const auto here = std::filesystem::current_path();
  std::filesystem::current_path(folder);
  EXPECT_EQ(resolve_config("sub/paths.ini", {}).teacher.init, (folder / "weights").string());
  const Config config = resolve_config("", {{"teacher.init", "weights", "command line"}});
  // A path that lies in the current folder, though not in the file's, is a mistake that is told.
  std::ofstream("sub/wrong.ini") << "[teacher]\ninit = weights\n";
  EXPECT_SAYS(refusal([] { resolve_config("sub/wrong.ini", {}); }), "counts from the file's own folder");
  std::filesystem::current_path(here);
  EXPECT_EQ(config.teacher.init, (folder / "weights").string());
  // Below the folder that the file is to lie in, a path moves with it.
  EXPECT_NE(to_ini(config, true, folder).find("init = weights\n"), std::string::npos);
  EXPECT_NE(to_ini(config, true, folder / "sub").find("init = " + config.teacher.init), std::string::npos);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace couplet
