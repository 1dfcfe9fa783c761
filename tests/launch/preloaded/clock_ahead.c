// Preloaded into a program that waits, in the place of waiting as long: from the moment on when the file $CLOCK_AHEAD
// is there, the clock by which programs count seconds is two minutes ahead. When a process's first thread has looked at
// that clock twice, and so has gone on after it had seen it ahead, the file $CLOCK_AHEAD.PROCESS is made.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec* time) {
  static int seen = 0;
  const long result = syscall(SYS_clock_gettime, clock, time);
  const char* ahead = getenv("CLOCK_AHEAD");
  if (clock != CLOCK_MONOTONIC || result != 0 || !ahead || access(ahead, F_OK) != 0) return (int)result;
  time->tv_sec += 120;
  if (syscall(SYS_gettid) == getpid() && ++seen == 2) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s.%d", ahead, (int)getpid());
    close(open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  }
  return 0;
}
