#include "launch/commands.h"

#include <cstdlib>

int main(int count, char** words) {
  // MKL, which computes some of LibTorch's products, otherwise rounds by where a thread's memory lies and by how many
  // threads there are: the same samples would differ in a pixel or two from one number of ranks to another. Its fastest
  // code all the same (no difference was measured); a user's own setting stays.
  ::setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
  return couplet::run_program({words + 1, words + count});
}
