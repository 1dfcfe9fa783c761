#include "launch/commands/commands.h"

int main(int count, char** words) {
  return couplet::run_program({words + 1, words + count});
}
