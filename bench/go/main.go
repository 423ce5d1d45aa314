// The programs of bench/src/cores, as a user of Go would write them: a goroutine for each connection,
// and one for each job.
//
//	cores serve CORES WORK           an echo server; prints its port and its process id
//	cores jobs CORES WORK LENGTHS    jobs of these lengths, "1,9,1,9"; prints nanoseconds
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// work is FNV-1a over the bytes, again and again: each step needs the one before it.
func work(bytes []byte, times int) uint64 {
	hash := uint64(14695981039346656037)
	for i := 0; i < times; i++ {
		for _, b := range bytes {
			hash = (hash ^ uint64(b)) * 1099511628211
		}
	}
	return hash
}

func echo(conn net.Conn, times int) {
	defer conn.Close()
	buffer := make([]byte, 1024)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if times > 0 && work(buffer[:n], times) == 0 {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func serve(times int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port, os.Getpid())
	for {
		conn, err := listener.Accept()
		check(err)
		go echo(conn, times)
	}
}

func jobs(times int, lengths []int) {
	begin := time.Now()
	var all sync.WaitGroup
	for _, length := range lengths {
		all.Add(1)
		go func(length int) {
			defer all.Done()
			if work([]byte("a job of sixty-four bytes, which are hashed again and again ..."), times*length) == 0 {
				panic("no hash is zero")
			}
		}(length)
	}
	all.Wait()
	fmt.Println(time.Since(begin).Nanoseconds())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

func main() {
	runtime.GOMAXPROCS(number(os.Args[2]))
	times := number(os.Args[3])
	if os.Args[1] == "serve" {
		serve(times)
	}
	var lengths []int
	for _, length := range strings.Split(os.Args[4], ",") {
		lengths = append(lengths, number(length))
	}
	jobs(times, lengths)
}
