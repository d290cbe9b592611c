/*
 * A floor: a server that answers each read on a Unix socket with a fixed reply, by epoll and nothing else.
 *
 *     echo SOCKET REPLY
 *
 * REPLY is a file. It looks at no request, so it is right only for clients that send the next one after the reply.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_EVENTS 256
#define BACKLOG 1024

static void fail(const char *what)
{
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int poll, int file)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};

    if (epoll_ctl(poll, EPOLL_CTL_ADD, file, &event) < 0)
        fail("epoll_ctl");
}

int main(int count, char **arguments)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct epoll_event events[MOST_EVENTS];
    static char reply[1 << 16], buffer[1 << 16];

    if (count != 3 || strlen(arguments[1]) >= sizeof address.sun_path) {
        fputs("usage: echo SOCKET REPLY\n", stderr);
        return 2;
    }
    strcpy(address.sun_path, arguments[1]);
    int file = open(arguments[2], O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, reply, sizeof reply);
    if (size <= 0)
        fail(arguments[2]);
    close(file);

    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, BACKLOG) < 0)
        fail(arguments[1]);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    if (poll < 0)
        fail("epoll_create1");
    watch(poll, listener);
    for (;;) {
        int ready = epoll_wait(poll, events, MOST_EVENTS, -1);

        if (ready < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < ready; i++) {
            int connection = events[i].data.fd;

            if (connection == listener) {
                connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (connection >= 0)
                    watch(poll, connection);
            } else if (recv(connection, buffer, sizeof buffer, 0) <= 0 ||
                       send(connection, reply, (size_t)size, MSG_NOSIGNAL) != size) {
                close(connection); /* which ends its watch */
            }
        }
    }
}
