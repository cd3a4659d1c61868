/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Starting the worker process and talking to it: lines of tab-separated fields over a socket pair.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { GRACE_MILLISECONDS = 4000, STEP_MILLISECONDS = 20, POLL_MILLISECONDS = 500 };

void text_add(text *self, const char *value)
{
    size_t length = strlen(value);

    if (self->used + length + 1 > self->size) {
        self->size = 2 * (self->used + length + 1);
        self->data = need(realloc(self->data, self->size));
    }
    memcpy(self->data + self->used, value, length + 1);
    self->used += length;
}

void text_field(text *self, const char *value)
{
    const char *c;
    char one[2] = {0, 0};

    if (self->used > 0 && self->data[self->used - 1] != '\n') {
        text_add(self, "\t");
    }
    for (c = value ? value : ""; *c; c++) {
        if (*c == '\t') {
            text_add(self, "\\t");
        } else if (*c == '\n') {
            text_add(self, "\\n");
        } else if (*c == '\r') {
            text_add(self, "\\r");
        } else if (*c == '\\') {
            text_add(self, "\\\\");
        } else {
            one[0] = *c;
            text_add(self, one);
        }
    }
}

void text_end(text *self)
{
    text_add(self, "\n");
}

/* Between fork and exec: only calls that are safe there. */
static void become_worker(const char *python, const char *script, int fd, pid_t parent)
{
    char number[16];
    char *arguments[5];
    int digits = 0, value = fd, nothing;
    sigset_t none;

    do {
        digits++;
        value /= 10;
    } while (value > 0);
    number[digits] = '\0';
    for (value = fd; digits > 0; value /= 10) {
        number[--digits] = (char)('0' + value % 10);
    }
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(126);
    }
#else
    (void)parent;
#endif
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) {
        dup2(nothing, STDIN_FILENO);
        if (nothing != STDIN_FILENO) {
            close(nothing);
        }
    }
    fcntl(fd, F_SETFD, 0);
    arguments[0] = (char *)(size_t)python;
    arguments[1] = (char[]){"-I"};
    arguments[2] = (char *)(size_t)script;
    arguments[3] = number;
    arguments[4] = NULL;
    execv(python, arguments);
    _exit(127);
}

int worker_start(worker *self, const char *python, const char *script)
{
    int ends[2];
    pid_t parent = getpid();

    memset(self, 0, sizeof *self);
    self->fd = -1;
    self->client = getppid() == loader() ? loader() : 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return -1;
    }
    /* descriptors 0 to 2 belong to the terminal, also where a host has closed them */
    if (ends[1] <= STDERR_FILENO) {
        int higher = fcntl(ends[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        close(ends[1]);
        ends[1] = higher;
    }
    fflush(NULL);
    self->pid = ends[1] < 0 ? -1 : fork();
    if (self->pid == 0) {
        become_worker(python, script, ends[1], parent);
    }
    if (ends[1] >= 0) {
        close(ends[1]);
    }
    if (self->pid < 0) {
        close(ends[0]);
        return -1;
    }
    self->fd = ends[0];
    return 0;
}

int worker_send(const worker *self, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(self->fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return -1;
        }
        data += sent;
        length -= (size_t)sent;
    }
    return 0;
}

static int has_ended(pid_t pid)
{
    siginfo_t info;

    memset(&info, 0, sizeof info);
    /* WNOWAIT: only look; worker_finish collects the status */
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
        return errno == ECHILD;
    }
    return info.si_pid == pid;
}

/* Wait for data. A child of a dead worker may still hold its end of the socket, so the end of the worker counts too.
 * python-cpl's forked process does not notice when python-cpl dies: that ends the run as well. */
static int wait_for_data(const worker *self)
{
    for (;;) {
        struct pollfd one = {self->fd, POLLIN, 0};
        int ready = poll(&one, 1, POLL_MILLISECONDS);
        if (ready > 0) {
            return 1;
        }
        if (ready < 0 && errno != EINTR) {
            return 0;
        }
        if (ready == 0 && self->client != 0 && getppid() != self->client) {
            return 0;
        }
        if (ready == 0 && has_ended(self->pid)) {
            return poll(&one, 1, 0) > 0;
        }
    }
}

char *worker_line(worker *self)
{
    for (;;) {
        char *end = self->used ? memchr(self->buffer, '\n', self->used) : NULL;
        ssize_t got;
        if (end != NULL) {
            size_t length = (size_t)(end - self->buffer);
            char *line = need(malloc(length + 1));
            memcpy(line, self->buffer, length);
            line[length] = '\0';
            self->used -= length + 1;
            memmove(self->buffer, end + 1, self->used);
            return line;
        }
        if (self->size - self->used < 4096) {
            self->size = 2 * self->size + 8192;
            self->buffer = need(realloc(self->buffer, self->size));
        }
        if (!wait_for_data(self)) {
            return NULL;
        }
        got = recv(self->fd, self->buffer + self->used, self->size - self->used, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return NULL;
        }
        self->used += (size_t)got;
    }
}

/* Close the connection and collect the worker, by force if it does not end. Returns the wait status, or -1. */
int worker_finish(worker *self)
{
    int status = 0, waited = 0;
    pid_t found;

    if (self->fd >= 0) {
        close(self->fd);
    }
    free(self->buffer);
    self->buffer = NULL;
    self->fd = -1;
    for (;;) {
        found = waitpid(self->pid, &status, WNOHANG);
        if (found == self->pid) {
            return status;
        }
        if (found < 0 && errno != EINTR) {
            return -1; /* somebody else collected it */
        }
        if (waited == GRACE_MILLISECONDS / 2) {
            kill(self->pid, SIGTERM);
        }
        if (waited >= GRACE_MILLISECONDS) {
            kill(self->pid, SIGKILL);
        }
        poll(NULL, 0, STEP_MILLISECONDS);
        waited += STEP_MILLISECONDS;
    }
}
