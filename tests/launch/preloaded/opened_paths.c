// Preloaded into a program whose use of files a test counts: what each of its processes opens and lists below the
// folder $OPENED_BELOW, and asks for there by access(), is appended to the file $OPENED_PATHS.RANK (without MPI:
// .PROCESS), a line each: "open PATH", "list PATH", "ask PATH".
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(const char* what, const char* path) {
  const char *below = getenv("OPENED_BELOW"), *notes = getenv("OPENED_PATHS"), *rank = getenv("OMPI_COMM_WORLD_RANK");
  if (!below || !notes || strncmp(path, below, strlen(below)) != 0) return;
  const int before = errno;
  char name[PATH_MAX], line[PATH_MAX + 8];
  if (rank)
    snprintf(name, sizeof name, "%s.%s", notes, rank);
  else
    snprintf(name, sizeof name, "%s.%d", notes, (int)getpid());
  const int length = snprintf(line, sizeof line, "%s %s\n", what, path);
  const int file = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file >= 0 && length > 0 && write(file, line, (size_t)length) != length) abort();
  if (file >= 0) close(file);
  errno = before;
}

/// Notes what a descriptor was opened for.
static int noted(const char* what, int descriptor) {
  char link[64], path[PATH_MAX];
  if (descriptor < 0) return descriptor;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length > 0) {
    path[length] = '\0';
    note(what, path);
  }
  return descriptor;
}

static int open_at(int folder, const char* path, int flags, int mode) {
  return noted("open", (int)syscall(SYS_openat, folder, path, flags, mode));
}

#define MODE(flags)                        \
  int mode = 0;                            \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list arguments;                     \
    va_start(arguments, flags);            \
    mode = va_arg(arguments, int);         \
    va_end(arguments);                     \
  }

int open(const char* path, int flags, ...) {
  MODE(flags)
  return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  MODE(flags)
  return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  MODE(flags)
  return open_at(folder, path, flags, mode);
}
int openat64(int folder, const char* path, int flags, ...) {
  MODE(flags)
  return open_at(folder, path, flags | O_LARGEFILE, mode);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static FILE* noted_stream(FILE* stream) {
  if (stream) noted("open", fileno(stream));
  return stream;
}
FILE* fopen(const char* path, const char* mode) {
  return noted_stream(NEXT(fopen)(path, mode));
}
FILE* fopen64(const char* path, const char* mode) {
  return noted_stream(NEXT(fopen64)(path, mode));
}
DIR* opendir(const char* path) {
  DIR* folder = NEXT(opendir)(path);
  if (folder) noted("list", dirfd(folder));
  return folder;
}
DIR* fdopendir(int descriptor) {
  return NEXT(fdopendir)(noted("list", descriptor));
}
int access(const char* path, int mode) {
  note("ask", path);
  return NEXT(access)(path, mode);
}
