/*
 * The load generator: it sends one request again and again to a server on a Unix socket, compares each reply byte for
 * byte with the right one, and times each round.
 *
 *     load open    SOCKET REQUEST REPLY ID SECONDS CONNECTIONS
 *     load connect SOCKET REQUEST REPLY ID SECONDS PROCESSES
 *
 * open: one process that keeps a request open on each of its connections; a round is from a request to its reply.
 * connect: processes, each of which connects, sends, reads the reply and closes; a round is all of that.
 *
 * REQUEST and REPLY are files. ID is where both have the request's number, as one byte: each connection counts it up
 * from 0 to 127, and a reply must have its request's. 0 is for messages without a number.
 *
 * It prints "ready" once each connection or process has had a right reply, begins with a line from its standard input,
 * and prints
 *
 *     {"requests": N, "seconds": S, "p50": US, "p99": US}
 *
 * with the times of a round in microseconds. It keeps its connections until its standard input ends, so that whoever
 * started it can read the server's processor time before and after, without that of opening and closing them. Exit
 * code 1, and a sentence on standard error: a reply was wrong, late, or missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_S 10
#define MOST_CLIENTS 1024
/* No round takes less than a microsecond: a reply costs its server four system calls, and a wake-up. */
#define MOST_ROUNDS_A_SECOND 1000000

struct message {
    char *bytes;
    size_t size;
};

/* What a process found. It lies in memory that the parent shares. */
struct findings {
    uint64_t from, until; /* ns */
    size_t count;
    uint32_t rounds[]; /* ns */
};

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct message request, reply;
static size_t id_at;
static uint64_t duration; /* ns */
static size_t capacity;   /* rounds a process */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static struct message read_file(const char *path)
{
    struct message message;
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0 || fstat(file, &status) < 0)
        fail("%s: %s", path, strerror(errno));
    message.size = (size_t)status.st_size;
    message.bytes = malloc(message.size + 1);
    if (message.bytes == NULL || message.size == 0 || read(file, message.bytes, message.size) != status.st_size)
        fail("%s can't be read", path);
    close(file);
    return message;
}

static int connect_to_server(void)
{
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connection < 0 || setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0)
        fail("no socket: %s", strerror(errno));
    if (connect(connection, (const struct sockaddr *)&address, sizeof address) < 0)
        fail("can't connect: %s", strerror(errno));
    return connection;
}

static void send_request(int connection, unsigned id)
{
    if (id_at > 0)
        request.bytes[id_at] = (char)(id % 128);
    /* A request is far smaller than a socket's buffer: a short write is a server that reads nothing. */
    if (send(connection, request.bytes, request.size, MSG_NOSIGNAL) != (ssize_t)request.size)
        fail("a request can't be sent: %s", strerror(errno));
}

/* Read more of the reply to request `id`, of which there are `got` bytes; return how many there are then. */
static size_t read_some(int connection, unsigned id, size_t got)
{
    static char buffer[1 << 16];
    ssize_t size = recv(connection, buffer, sizeof buffer, 0);

    if (size < 0)
        fail("a reply of %zu bytes: %s after %zu", reply.size, strerror(errno), got);
    if (size == 0)
        fail("a reply of %zu bytes ended after %zu", reply.size, got);
    if (id_at > 0)
        reply.bytes[id_at] = (char)(id % 128);
    if ((size_t)size > reply.size - got || memcmp(buffer, reply.bytes + got, (size_t)size) != 0)
        fail("a wrong reply: %zu bytes that differ from the %zu right ones", got + (size_t)size, reply.size);
    return got + (size_t)size;
}

static void exchange(int connection, unsigned id)
{
    send_request(connection, id);
    for (size_t got = 0; got < reply.size;)
        got = read_some(connection, id, got);
}

static void exchange_on_a_connection(void)
{
    int connection = connect_to_server();

    exchange(connection, 0);
    close(connection);
}

static void record(struct findings *findings, uint64_t from, uint64_t until)
{
    if (findings->count == capacity)
        fail("more than %zu rounds", capacity);
    findings->rounds[findings->count++] = until - from > UINT32_MAX ? UINT32_MAX : (uint32_t)(until - from);
    findings->until = until;
}

static void connect_again_and_again(struct findings *findings)
{
    uint64_t from = findings->from = now(), end = from + duration;

    while (from < end) {
        exchange_on_a_connection();
        uint64_t until = now();
        record(findings, from, until);
        from = until;
    }
}

/* Wait in recv, as a client with one connection does. */
static void drive_one(struct findings *findings, int connection)
{
    uint64_t from = findings->from = now(), end = from + duration;

    for (unsigned id = 1; from < end; id++) {
        exchange(connection, id);
        uint64_t until = now();
        record(findings, from, until);
        from = until;
    }
}

struct open_request {
    int connection;
    unsigned id;
    size_t got;
    uint64_t from;
};

/*
 * Never sleep: a server that is slower than this would pay for waking it with every reply, and a faster one wouldn't.
 */
static void drive_many(struct findings *findings, const int *connections, size_t count)
{
    static struct open_request requests[MOST_CLIENTS];
    struct epoll_event events[MOST_CLIENTS];
    int poll = epoll_create1(EPOLL_CLOEXEC);
    size_t waiting = count;

    for (size_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &requests[i]};

        requests[i] = (struct open_request){.connection = connections[i], .id = 1};
        if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, connections[i], &event) < 0)
            fail("epoll: %s", strerror(errno));
    }
    findings->from = now();
    uint64_t end = findings->from + duration, last = findings->from;
    for (size_t i = 0; i < count; i++) {
        requests[i].from = now();
        send_request(requests[i].connection, requests[i].id);
    }
    while (waiting > 0) {
        int ready = epoll_wait(poll, events, MOST_CLIENTS, 0);

        if (ready < 0 && errno != EINTR)
            fail("epoll: %s", strerror(errno));
        if (ready <= 0) {
            if (now() - last > (uint64_t)TIMEOUT_S * 1000000000)
                fail("%zu of %zu requests had no reply within %d s", waiting, count, TIMEOUT_S);
            sched_yield();
        }
        for (int i = 0; i < ready; i++) {
            struct open_request *open = events[i].data.ptr;

            open->got = read_some(open->connection, open->id, open->got);
            if (open->got < reply.size)
                continue;
            last = now();
            record(findings, open->from, last);
            open->got = 0;
            if (last < end) {
                open->from = last;
                send_request(open->connection, ++open->id);
            } else {
                waiting--;
            }
        }
    }
    close(poll);
}

/* Tell the parent that this process is ready, and wait for its word. */
static void wait_to_begin(int ready, int begin)
{
    char byte = 0;

    if (write(ready, &byte, 1) != 1 || read(begin, &byte, 1) != 1)
        fail("the parent has gone");
}

static void run_open(struct findings *findings, size_t count, int ready, int begin)
{
    static int connections[MOST_CLIENTS];

    for (size_t i = 0; i < count; i++) {
        connections[i] = connect_to_server();
        exchange(connections[i], 0);
    }
    wait_to_begin(ready, begin);
    if (count == 1)
        drive_one(findings, connections[0]);
    else
        drive_many(findings, connections, count);
}

static void run_connect(struct findings *findings, int ready, int begin)
{
    exchange_on_a_connection();
    wait_to_begin(ready, begin);
    connect_again_and_again(findings);
}

static int compare(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

static void report(struct findings **all, size_t processes)
{
    uint64_t from = UINT64_MAX, until = 0;
    size_t count = 0;

    for (size_t i = 0; i < processes; i++) {
        count += all[i]->count;
        from = all[i]->from < from ? all[i]->from : from;
        until = all[i]->until > until ? all[i]->until : until;
    }
    uint32_t *rounds = malloc((count + 1) * sizeof *rounds);
    if (rounds == NULL || count == 0)
        fail("no round was measured");
    for (size_t i = 0, at = 0; i < processes; at += all[i++]->count)
        memcpy(rounds + at, all[i]->rounds, all[i]->count * sizeof *rounds);
    qsort(rounds, count, sizeof *rounds, compare);
    printf("{\"requests\": %zu, \"seconds\": %.6f, \"p50\": %.2f, \"p99\": %.2f}\n", count,
           (double)(until - from) / 1e9, rounds[count / 2] / 1e3, rounds[count * 99 / 100] / 1e3);
    fflush(stdout);
    free(rounds);
}

/* A number of an argument, from `least` to `most`. */
static double number(const char *argument, double least, double most)
{
    char *end;
    double value = strtod(argument, &end);

    if (*argument == '\0' || *end != '\0' || !(value >= least && value <= most))
        fail("%s is not a number from %g to %g", argument, least, most);
    return value;
}

int main(int count, char **arguments)
{
    static struct findings *all[MOST_CLIENTS];
    int ready[2], begin[2], finished[2];
    char line[16], byte;

    if (count != 8 || (strcmp(arguments[1], "open") != 0 && strcmp(arguments[1], "connect") != 0))
        fail("usage: load open|connect SOCKET REQUEST REPLY ID SECONDS CLIENTS");
    bool open = strcmp(arguments[1], "open") == 0;
    if (strlen(arguments[2]) >= sizeof address.sun_path)
        fail("%s is too long for a socket", arguments[2]);
    strcpy(address.sun_path, arguments[2]);
    request = read_file(arguments[3]);
    reply = read_file(arguments[4]);
    id_at = (size_t)number(arguments[5], 0, (double)(request.size < reply.size ? request.size : reply.size) - 1);
    double seconds = number(arguments[6], 0.001, 3600);
    size_t clients = (size_t)number(arguments[7], 1, MOST_CLIENTS), processes = open ? 1 : clients;
    duration = (uint64_t)(seconds * 1e9);
    capacity = (size_t)(seconds * MOST_ROUNDS_A_SECOND) + MOST_CLIENTS;

    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(begin, O_CLOEXEC) < 0 || pipe2(finished, O_CLOEXEC) < 0)
        fail("no pipe: %s", strerror(errno));
    for (size_t i = 0; i < processes; i++) {
        /* Only what is written of it costs memory. */
        all[i] = mmap(NULL, sizeof **all + capacity * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (all[i] == MAP_FAILED)
            fail("no memory: %s", strerror(errno));
        pid_t child = fork();
        if (child < 0)
            fail("no process: %s", strerror(errno));
        if (child > 0)
            continue;
        close(ready[0]);
        close(begin[1]);
        close(finished[0]);
        if (open)
            run_open(all[i], clients, ready[1], begin[0]);
        else
            run_connect(all[i], ready[1], begin[0]);
        if (write(finished[1], "", 1) != 1)
            fail("the parent has gone");
        /* Keeps the connections until the parent's standard input ends. */
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
        _exit(0);
    }
    close(ready[1]);
    close(finished[1]);
    for (size_t i = 0; i < processes; i++)
        if (read(ready[0], &byte, 1) != 1)
            fail("a process ended");
    puts("ready");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        return 0;
    for (size_t i = 0; i < processes; i++)
        if (write(begin[1], "", 1) != 1)
            fail("a process ended");
    for (size_t i = 0; i < processes; i++)
        if (read(finished[0], &byte, 1) != 1)
            fail("a process ended");
    report(all, processes);
    for (size_t i = 0; i < processes; i++)
        wait(NULL);
    return 0;
}
