/* A disk that does as it is told, for one directory: preloaded into a process (LD_PRELOAD), it stands between the
 * process and libc's file calls. See disk.py, which has the other end of `struct control`, and power.py, which reads
 * the journal.
 *
 * Syncs can fail, once or always, or wait at a gate; whatever changes a file can be refused. With a journal every
 * change is written down in the order in which it was made, and every sync with what it covers: what a power cut at
 * any moment leaves can be worked out from it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct control {
    /* In: what is wanted. */
    volatile uint32_t sync_errno;     /* what a sync fails with */
    volatile uint32_t syncs_to_fail;  /* so many more */
    volatile uint32_t change_errno;   /* what every change fails with, 0: none does */
    volatile uint32_t gate_is_closed; /* syncs wait */
    volatile uint64_t inode_to_fail;  /* whose syncs fail, 0: anybody's */
    /* Out: what has happened. */
    volatile uint64_t syncs;
    volatile uint64_t syncs_failed;
    volatile uint64_t syncs_waiting;
    volatile uint64_t position; /* records in the journal */
};

enum kind { CREATE = 1, UNLINK, WRITE, TRUNCATE, SYNC, SYNC_DIRECTORY, LOST };

struct record {
    uint32_t kind;
    uint32_t length; /* of the octets that follow: what was written, or a file's name */
    uint64_t inode;
    uint64_t number; /* offset of a write, new size of a file, position when a sync began */
};

static struct control *control;
static const char *directory;
static size_t directory_length;
static int journal = -1;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_unlink)(const char *);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    const char *path = getenv("FAKE_DISK_CONTROL");
    directory = getenv("FAKE_DISK_DIRECTORY");
    if (path == NULL || directory == NULL) {
        directory = NULL;
        return;
    }
    directory_length = strlen(directory);
    int descriptor = real_open(path, O_RDWR | O_CLOEXEC);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    const char *record_in = getenv("FAKE_DISK_JOURNAL");
    if (record_in != NULL) journal = real_open(record_in, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* The path below our directory, "" for the directory itself, NULL for what is none of our business. */
static const char *within(const char *path) {
    if (directory == NULL || strncmp(path, directory, directory_length) != 0) return NULL;
    const char *rest = path + directory_length;
    return *rest == '/' ? rest + 1 : *rest == '\0' ? rest : NULL;
}

static const char *within_by_descriptor(int descriptor, char path[512]) {
    if (directory == NULL) return NULL;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, 511);
    if (length < 0) return NULL;
    path[length] = '\0';
    return within(path);
}

/* Files that a power cut may leave: not spools, which have no name, and not what SQLite keeps in shared memory. */
static int is_kept(const char *name) {
    size_t length = strlen(name);
    return journal >= 0 && strstr(name, "(deleted)") == NULL && (length < 4 || strcmp(name + length - 4, "-shm") != 0);
}

static uint64_t inode_of(int descriptor) {
    struct stat64 found;
    return fstat64(descriptor, &found) == 0 ? found.st_ino : 0;
}

static void note(enum kind kind, uint64_t inode, uint64_t number, const void *octets, size_t length) {
    struct record head = {kind, (uint32_t)length, inode, number};
    if (real_write(journal, &head, sizeof head) != sizeof head) abort();
    if (length > 0 && real_write(journal, octets, length) != (ssize_t)length) abort();
    control->position++;
}

static int is_refused(void) {
    if (control->change_errno == 0) return 0;
    errno = (int)control->change_errno;
    return 1;
}

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    const char *name = within(path);
    if (name == NULL) return real_open(path, flags, mode);
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && is_refused()) return -1;
    pthread_mutex_lock(&order);
    int is_new = (flags & O_CREAT) && access(path, F_OK) != 0;
    int descriptor = real_open(path, flags, mode);
    if (descriptor >= 0 && is_new && is_kept(name)) note(CREATE, inode_of(descriptor), 0, name, strlen(name));
    pthread_mutex_unlock(&order);
    return descriptor;
}

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return open64(path, flags, mode);
}

int unlink(const char *path) {
    const char *name = within(path);
    if (name == NULL) return real_unlink(path);
    if (is_refused()) return -1;
    pthread_mutex_lock(&order);
    int result = real_unlink(path);
    if (result == 0 && is_kept(name)) note(UNLINK, 0, 0, name, strlen(name));
    pthread_mutex_unlock(&order);
    return result;
}

ssize_t pwrite64(int descriptor, const void *octets, size_t length, off64_t offset) {
    char path[512];
    const char *name = within_by_descriptor(descriptor, path);
    if (name == NULL) return real_pwrite(descriptor, octets, length, offset);
    if (is_refused()) return -1;
    pthread_mutex_lock(&order);
    ssize_t written = real_pwrite(descriptor, octets, length, offset);
    if (written > 0 && is_kept(name)) note(WRITE, inode_of(descriptor), (uint64_t)offset, octets, (size_t)written);
    pthread_mutex_unlock(&order);
    return written;
}

ssize_t pwrite(int descriptor, const void *octets, size_t length, off_t offset) {
    return pwrite64(descriptor, octets, length, offset);
}

/* Nothing that is kept is written with this one: spools alone. */
ssize_t write(int descriptor, const void *octets, size_t length) {
    char path[512];
    if (directory != NULL && control->change_errno != 0 && within_by_descriptor(descriptor, path) && is_refused())
        return -1;
    return real_write(descriptor, octets, length);
}

int ftruncate64(int descriptor, off64_t size) {
    char path[512];
    const char *name = within_by_descriptor(descriptor, path);
    if (name == NULL) return real_ftruncate(descriptor, size);
    if (is_refused()) return -1;
    pthread_mutex_lock(&order);
    int result = real_ftruncate(descriptor, size);
    if (result == 0 && is_kept(name)) note(TRUNCATE, inode_of(descriptor), (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&order);
    return result;
}

int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }

static int sync_with(int (*real)(int), int descriptor) {
    char path[512];
    const char *name = within_by_descriptor(descriptor, path);
    if (name == NULL) return real(descriptor);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    uint64_t began_at = control->position;
    __atomic_add_fetch(&control->syncs_waiting, 1, __ATOMIC_SEQ_CST);
    while (control->gate_is_closed) usleep(2000);
    __atomic_sub_fetch(&control->syncs_waiting, 1, __ATOMIC_SEQ_CST);
    uint64_t inode = inode_of(descriptor);
    int fails = control->syncs_to_fail > 0 && (control->inode_to_fail == 0 || control->inode_to_fail == inode);
    /* The journal keeps what would be on the disk: nothing has to be there. */
    int result = fails || journal >= 0 ? 0 : real(descriptor);
    pthread_mutex_lock(&order);
    if (fails) {
        control->syncs_to_fail--;
        control->syncs_failed++;
    }
    if (journal >= 0) note(fails ? LOST : *name == '\0' ? SYNC_DIRECTORY : SYNC, inode, began_at, NULL, 0);
    pthread_mutex_unlock(&order);
    if (fails) {
        errno = (int)control->sync_errno;
        return -1;
    }
    return result;
}

int fsync(int descriptor) { return sync_with(real_fsync, descriptor); }

int fdatasync(int descriptor) { return sync_with(real_fdatasync, descriptor); }
