// SPDX-License-Identifier: Apache-2.0
//
// Keys and the mouse, by what people see afterwards.
#include "tools/top/key_handler.hpp"

#include <csignal>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/abi/ledger_format.h>

#include "screen_driver.hpp"
#include "snapshot_fixture.hpp"
#include "tools/top/kill_process.hpp"

namespace memtally::tools::top {
namespace {

TEST(Keys, Quit) {
  for (const Key& key : {Character(U'q'), Key{KeyCode::kF10}}) {
    ScreenDriver driver(BusyMachine(), 100, 30);
    EXPECT_EQ(driver.Press(key).kind, Effect::Kind::kQuit);
  }
  ScreenDriver driver(BusyMachine(), 100, 30);
  driver.Press(KeyCode::kEnter);
  EXPECT_EQ(driver.Type("q").kind, Effect::Kind::kQuit);
  EXPECT_EQ(driver.Press(KeyCode::kControlL).kind, Effect::Kind::kRedraw);
}

TEST(Keys, MoveTheSelection) {
  ScreenDriver driver(BusyMachine(), 100, 30);
  EXPECT_NE(driver.SelectedLine().find("4102"), std::string::npos);
  driver.Press(KeyCode::kDown);
  EXPECT_NE(driver.SelectedLine().find("4100"), std::string::npos);
  driver.Press(KeyCode::kDown);
  driver.Press(KeyCode::kDown);  // over the heading
  EXPECT_NE(driver.SelectedLine().find("4200"), std::string::npos);
  driver.Press(KeyCode::kUp);
  EXPECT_NE(driver.SelectedLine().find("4101"), std::string::npos);
  driver.Press(KeyCode::kEnd);
  EXPECT_NE(driver.SelectedLine().find("3900"), std::string::npos);
  driver.Press(KeyCode::kHome);
  driver.Press(KeyCode::kUp);
  EXPECT_NE(driver.SelectedLine().find("4102"), std::string::npos);
  driver.Type("G");
  EXPECT_NE(driver.SelectedLine().find("3900"), std::string::npos);
  driver.Type("g");
  driver.Press(KeyCode::kPageDown);
  EXPECT_NE(driver.SelectedLine().find("3900"), std::string::npos);
  driver.Press(KeyCode::kPageUp);
  EXPECT_NE(driver.SelectedLine().find("4102"), std::string::npos);
}

TEST(Keys, TheSelectionStaysWithItsProcess) {
  ScreenDriver driver(BusyMachine(), 100, 30);
  driver.Press(KeyCode::kDown);
  ASSERT_NE(driver.SelectedLine().find("4100"), std::string::npos);
  driver.Type("N");
  EXPECT_EQ(driver.state.list.cursor, 0u);
  EXPECT_NE(driver.SelectedLine().find("4100"), std::string::npos);
  // When it is gone, the line stays.
  driver.Show(OneProcess());
  EXPECT_NE(driver.SelectedLine().find("5000"), std::string::npos);
}

TEST(Keys, Sort) {
  ScreenDriver driver(BusyMachine(), 130, 30);
  EXPECT_TRUE(driver.Shows("RESERVED▼"));
  driver.Type("I");
  EXPECT_TRUE(driver.Shows("RESERVED▲"));
  driver.Type("N");
  EXPECT_TRUE(driver.Shows("PID▲"));
  driver.Type("N");
  EXPECT_TRUE(driver.Shows("PID▼"));
  driver.Type("B");
  EXPECT_TRUE(driver.Shows("BUFFERS▼"));
  driver.Type("A");
  EXPECT_TRUE(driver.Shows("ANOM▼"));
  driver.Type(">");
  EXPECT_TRUE(driver.Shows("FAIL▼"));
  driver.Press(KeyCode::kF6);
  EXPECT_TRUE(driver.Shows("COMMAND▲"));
  driver.Type(">");
  EXPECT_TRUE(driver.Shows("PID▲"));
  driver.Type("<");
  EXPECT_TRUE(driver.Shows("COMMAND▲"));
  driver.Type("M");
  EXPECT_TRUE(driver.Shows("RESERVED▼"));
}

TEST(Keys, SortByMemoriesOfTheirOwn) {
  ScreenDriver driver(BusyMachine(), 160, 30);
  driver.Type("m");
  EXPECT_TRUE(driver.Shows(" dram "));
  driver.Type(">>");
  EXPECT_TRUE(driver.Shows("l1▼"));
  EXPECT_EQ(driver.state.sort.memory, "l1");
}

TEST(Keys, Filter) {
  ScreenDriver driver(BusyMachine(), 100, 30);
  driver.Type("/worker");
  driver.Press(KeyCode::kEnter);
  EXPECT_FALSE(driver.Shows("serve"));
  EXPECT_TRUE(driver.Shows("filter worker"));
  EXPECT_TRUE(driver.Shows("unknown_free"));  // a filter hides no anomaly
  driver.Press(KeyCode::kF4);
  EXPECT_EQ(driver.state.line.text(), "worker");
  driver.Type("(");
  driver.Press(KeyCode::kEnter);
  EXPECT_TRUE(driver.Shows("not a regular expression"));
  EXPECT_EQ(driver.state.question, Question::kFilter);
  driver.Press(KeyCode::kBackspace);
  driver.Press(KeyCode::kEscape);
  EXPECT_TRUE(driver.Shows("filter worker"));
  driver.Press(KeyCode::kEscape);
  EXPECT_TRUE(driver.Shows("serve"));
  driver.Type("/x");
  driver.Press(KeyCode::kEnter);
  EXPECT_TRUE(driver.Shows("No process matches"));
  driver.Type("/");
  driver.Press(KeyCode::kControlU);
  driver.Press(KeyCode::kEnter);
  EXPECT_TRUE(driver.Shows("serve"));
}

TEST(Keys, Toggles) {
  ScreenDriver driver(BusyMachine(), 130, 30);
  driver.Type("a");
  EXPECT_TRUE(driver.Shows("tidy"));
  driver.Type("c");
  EXPECT_TRUE(driver.Shows("/usr/bin/serve"));
  driver.Type("t");
  EXPECT_TRUE(driver.Shows("├─/usr/bin/worker"));
  driver.Press(KeyCode::kF5);
  EXPECT_FALSE(driver.Shows("├─/usr"));
  driver.Type(" ");
  EXPECT_TRUE(driver.state.paused && driver.Shows("PAUSED"));
  driver.Type(" ");
  EXPECT_FALSE(driver.state.paused);
}

TEST(Keys, Help) {
  for (const Key& key : {Character(U'h'), Character(U'?'), Key{KeyCode::kF1}}) {
    ScreenDriver driver(BusyMachine(), 80, 24);
    driver.Press(key);
    EXPECT_TRUE(driver.Shows("Anywhere"));
    driver.Press(KeyCode::kPageDown);
    EXPECT_FALSE(driver.Shows("Anywhere"));
    driver.Press(KeyCode::kEnd);
    driver.Press(KeyCode::kDown);
    EXPECT_TRUE(driver.Shows("not necessarily all at once"));
    EXPECT_EQ(driver.Type("q").kind, Effect::Kind::kNone);
    EXPECT_TRUE(driver.Shows("4102"));
  }
}

TEST(Keys, LookIntoAProcess) {
  ScreenDriver driver(OneProcess(), 110, 24);
  driver.Press(KeyCode::kEnter);
  EXPECT_TRUE(driver.Shows("5000 llama"));
  EXPECT_TRUE(driver.Shows("kv cache"));
  EXPECT_FALSE(driver.Shows("layer 1"));
  for (int i = 0; i < 2; ++i) driver.Press(KeyCode::kDown);  // model, kv cache, decode
  ASSERT_NE(driver.SelectedLine().find("decode"), std::string::npos);
  driver.Press(KeyCode::kRight);
  EXPECT_TRUE(driver.Shows("layer 1"));
  driver.Press(KeyCode::kDown);
  driver.Press(KeyCode::kLeft);
  EXPECT_NE(driver.SelectedLine().find("decode"), std::string::npos);
  driver.Press(KeyCode::kLeft);
  EXPECT_FALSE(driver.Shows("layer 1"));
  driver.Press(KeyCode::kLeft);
  EXPECT_NE(driver.SelectedLine().find("model"), std::string::npos);
  driver.Press(KeyCode::kEnter);
  EXPECT_FALSE(driver.Shows("kv cache"));
  driver.Type("+*");
  EXPECT_TRUE(driver.Shows("layer 1"));
  driver.Press(KeyCode::kTab);
  EXPECT_EQ(driver.state.tab, Tab::kKinds);
  driver.Press(KeyCode::kBackTab);
  driver.Press(KeyCode::kBackTab);
  EXPECT_EQ(driver.state.tab, Tab::kEvents);
  EXPECT_TRUE(driver.Shows("alloc_failed"));
  EXPECT_FALSE(driver.Shows("bookkeeping"));
  driver.Type("3");
  EXPECT_EQ(driver.state.tab, Tab::kSizes);
  driver.Press(KeyCode::kEscape);
  EXPECT_TRUE(driver.Shows("COMMAND"));
}

TEST(Keys, AProcessThatGoesAway) {
  ScreenDriver driver(OneProcess(), 110, 24);
  driver.Press(KeyCode::kEnter);
  driver.Show(BusyMachine());
  EXPECT_TRUE(driver.Shows("has ended and left nothing"));
  driver.Type("5");
  driver.Press(KeyCode::kDown);
  driver.Press(KeyCode::kEnter);
  driver.Type("k");
  EXPECT_TRUE(driver.Shows("No process is chosen"));
  driver.Press(KeyCode::kBackspace);
  EXPECT_TRUE(driver.Shows("4102"));
}

TEST(Keys, WriteToAFile) {
  ScreenDriver driver(BusyMachine(), 100, 30);
  driver.Type("s");
  EXPECT_TRUE(driver.Shows("Write the screen to: memtally-top.txt"));
  driver.Type("2");
  const Effect effect = driver.Press(KeyCode::kEnter);
  EXPECT_EQ(effect.kind, Effect::Kind::kSave);
  EXPECT_EQ(effect.file, "memtally-top.txt2");
  EXPECT_EQ(driver.state.question, Question::kNone);
  driver.Type("s");
  EXPECT_EQ(driver.Press(KeyCode::kEscape).kind, Effect::Kind::kNone);
  driver.Type("s");
  driver.Press(KeyCode::kControlU);
  EXPECT_EQ(driver.Press(KeyCode::kEnter).kind, Effect::Kind::kNone);
}

TEST(Keys, KillAsksFirst) {
  ScreenDriver driver(BusyMachine(), 100, 30);
  EXPECT_EQ(driver.Type("k").kind, Effect::Kind::kNone);
  EXPECT_TRUE(driver.Shows("Send SIGTERM to 4102 worker? [y/N]"));
  for (const Key& key : {Key{KeyCode::kEnter}, Key{KeyCode::kEscape}, Character(U'n'), Character(U'q'),
                         Key{KeyCode::kClick}, Character(U'k')}) {
    driver.state.question = Question::kKill;
    EXPECT_EQ(driver.Press(key).kind, Effect::Kind::kNone);
    EXPECT_EQ(driver.state.question, Question::kNone);
    EXPECT_TRUE(driver.Shows("Nothing was sent."));
  }
  driver.Press(KeyCode::kF9);
  driver.Press(KeyCode::kTab);
  EXPECT_TRUE(driver.Shows("Send SIGINT to"));
  driver.Press(KeyCode::kBackTab);
  driver.Press(KeyCode::kBackTab);
  EXPECT_TRUE(driver.Shows("Send SIGKILL to"));
  const Effect effect = driver.Type("y");
  EXPECT_EQ(effect.kind, Effect::Kind::kKill);
  EXPECT_EQ(effect.order.pid, 4102u);
  EXPECT_EQ(kKillSignals[effect.order.signal].number, SIGKILL);
}

TEST(Keys, KillMeansTheProcessThatWasAskedAbout) {
  ScreenDriver driver(BusyMachine(), 100, 30);
  driver.Type("k");
  driver.Show(OneProcess());
  EXPECT_TRUE(driver.Shows("Send SIGTERM to 4102 worker?"));
  EXPECT_EQ(driver.Type("y").order.pid, 4102u);
}

TEST(Keys, KillRefuses) {
  ScreenDriver driver(BusyMachine(), 100, 30);
  driver.Press(KeyCode::kEnd);
  driver.Type("k");
  EXPECT_TRUE(driver.Shows("it is dead"));
  driver.Press(KeyCode::kUp);
  driver.Type("k");
  EXPECT_TRUE(driver.Shows("another program"));
  EXPECT_EQ(driver.Type("y").kind, Effect::Kind::kNone);

  collect::Process hidden = MakeProcess(7, "hidden");
  hidden.facts.visible_pid = 0;
  driver.Show(MakeSnapshot({hidden}));
  driver.Type("k");
  EXPECT_TRUE(driver.Shows("another pid namespace"));

  ScreenDriver careful(BusyMachine(), 100, 30);
  careful.state.read_only = true;
  careful.Type("k");
  EXPECT_TRUE(careful.Shows("--readonly"));
  EXPECT_EQ(careful.Type("y").kind, Effect::Kind::kNone);
  careful.Draw();
  EXPECT_FALSE(careful.Shows("k Signal"));
}

TEST(Mouse, SortsSelectsAndOpens) {
  ScreenDriver driver(BusyMachine(), 130, 30);
  const int heading = driver.LineOf("COMMAND");
  const auto column = [&](const std::string& name) {
    for (int x = 0; x < driver.grid.width(); ++x) {
      std::string here;
      for (int i = x; i < driver.grid.width() && here.size() < name.size(); ++i)
        here += driver.grid.at(i, heading).text;
      if (here == name) return x;
    }
    return -1;
  };
  driver.Click(column("PID"), heading);
  EXPECT_TRUE(driver.Shows("PID▲"));
  driver.Click(column("PID"), heading);
  EXPECT_TRUE(driver.Shows("PID▼"));
  driver.Click(column("COMMAND"), heading);
  EXPECT_TRUE(driver.Shows("COMMAND▲"));
  const int line = driver.LineOf("4200");
  driver.Click(5, line);
  EXPECT_NE(driver.SelectedLine().find("4200"), std::string::npos);
  EXPECT_EQ(driver.state.view, View::kMachine);
  driver.Click(5, line);
  EXPECT_EQ(driver.state.view, View::kProcess);
  driver.Click(0, 0);
  driver.Click(129, 29);
  driver.Click(500, -3);
}

TEST(Mouse, ChoosesTabsAndFolds) {
  ScreenDriver driver(OneProcess(), 110, 24);
  driver.Press(KeyCode::kEnter);
  const int tabs = driver.LineOf("2 Kinds");
  driver.Click(8, tabs);
  EXPECT_EQ(driver.state.tab, Tab::kKinds);
  driver.Click(0, tabs);
  const int line = driver.LineOf("decode");
  driver.Click(3, line);
  EXPECT_FALSE(driver.Shows("layer 1"));
  driver.Click(3, line);
  EXPECT_TRUE(driver.Shows("layer 1"));
}

TEST(Mouse, WheelScrolls) {
  ScreenDriver driver(BusyMachine(), 100, 30);
  const int line = driver.LineOf("4100");
  driver.Press(Key{KeyCode::kWheelDown, 0, 3, line});
  EXPECT_NE(driver.SelectedLine().find("4200"), std::string::npos);
  driver.Press(Key{KeyCode::kWheelUp, 0, 3, line});
  EXPECT_NE(driver.SelectedLine().find("4100"), std::string::npos);
}

TEST(Mouse, WheelScrollsDevices) {
  std::vector<collect::Process> processes;
  for (int device = 0; device < 32; ++device)
    processes.push_back(MakeProcess(100 + static_cast<uint32_t>(device), "x", device));
  ScreenDriver driver(MakeSnapshot(processes), 60, 20);
  ASSERT_GT(driver.map.device_lines, driver.map.device_page);
  driver.Press(Key{KeyCode::kWheelDown, 0, 3, 2});
  EXPECT_EQ(driver.state.first_device_line, 1u);
  for (int i = 0; i < 200; ++i) driver.Type("]");
  EXPECT_EQ(driver.state.first_device_line, driver.map.device_lines - driver.map.device_page);
  driver.Type("[");
  EXPECT_EQ(driver.state.first_device_line, driver.map.device_lines - driver.map.device_page - 1);
}

}  // namespace
}  // namespace memtally::tools::top
