// Goroutines that block in calls, processes, signals, timers, files, garbage, panics.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func goroutines() {
	var wait sync.WaitGroup
	var mutex sync.Mutex
	total := 0
	for i := 0; i < 200; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			sum := 0
			for j := 0; j < 200000; j++ { // long enough to be preempted by a signal
				sum += j % (i + 1)
			}
			mutex.Lock()
			total += sum
			mutex.Unlock()
		}(i)
	}
	wait.Wait()
	fmt.Println("sum", total)
	chain := make(chan int)
	first := chain
	for i := 0; i < 1000; i++ {
		next := make(chan int)
		go func(from, to chan int) { to <- 1 + <-from }(chain, next)
		chain = next
	}
	first <- 0
	fmt.Println("chain", <-chain)
}

func processes() {
	out, err := exec.Command("sh", "-c", "echo child; exit 3").Output()
	fmt.Printf("%s %v\n", bytes.TrimSpace(out), err)
	command := exec.Command("cat")
	command.Stdin = strings.NewReader(strings.Repeat("x", 1000000))
	out, err = command.Output()
	fmt.Println("cat", len(out), err)
	var wait sync.WaitGroup
	var good int32
	for i := 0; i < 40; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			if out, err := exec.Command("echo", fmt.Sprint(i)).Output(); err == nil && string(out) == fmt.Sprintln(i) {
				atomic.AddInt32(&good, 1)
			}
		}(i)
	}
	wait.Wait()
	fmt.Println("many", good)
	sleeper := exec.Command("sleep", "100")
	check(sleeper.Start())
	check(sleeper.Process.Kill())
	fmt.Println(sleeper.Wait())
	_, err = exec.LookPath("no-such-program")
	fmt.Println(err)
}

func signals() {
	come := make(chan os.Signal, 100)
	signal.Notify(come, syscall.SIGUSR1, syscall.SIGHUP)
	for i := 0; i < 50; i++ {
		check(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
		if s := <-come; s != syscall.SIGUSR1 {
			fmt.Println("wrong", s)
		}
	}
	signal.Stop(come)
	fmt.Println("signals")
	for i := 0; i < 100; i++ { // a fault becomes a panic
		func() {
			defer func() {
				if r := recover(); r == nil {
					fmt.Println("no panic")
				}
			}()
			var p *int
			*p = i
		}()
	}
	defer func() { fmt.Println(recover()) }()
	debug.SetPanicOnFault(true)
	data, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	check(err)
	data[0] = 1
}

func files() {
	folder, err := os.MkdirTemp("", "go")
	check(err)
	defer os.RemoveAll(folder)
	var wait sync.WaitGroup
	for i := 0; i < 50; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			check(os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), make([]byte, i), 0o600))
		}(i)
	}
	wait.Wait()
	names, err := os.ReadDir(folder)
	check(err)
	sort.Slice(names, func(i, j int) bool { return names[i].Name() < names[j].Name() })
	fmt.Println("files", len(names), names[0].Name())
	read, write, err := os.Pipe()
	check(err)
	check(read.SetReadDeadline(time.Now().Add(20 * time.Millisecond)))
	_, err = read.Read(make([]byte, 1))
	fmt.Println(os.IsTimeout(err))
	go func() { write.Write(make([]byte, 300000)); write.Close() }()
	check(read.SetReadDeadline(time.Time{}))
	all, err := io.ReadAll(read)
	fmt.Println("pipe", len(all), err)
}

func main() {
	goroutines()
	processes()
	signals()
	files()
	ticker, ticks := time.NewTicker(2*time.Millisecond), 0
	for range ticker.C {
		if ticks++; ticks == 10 {
			break
		}
	}
	var kept [][]byte
	for i := 0; i < 50000; i++ {
		if kept = append(kept, make([]byte, i%5000)); len(kept) > 1000 {
			kept = kept[500:]
		}
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collected", stats.NumGC > 0, ticks)
	buffer := make([]byte, 1<<16)
	fmt.Println("stack", strings.Contains(string(buffer[:runtime.Stack(buffer, true)]), "main.main"))
}
