// Drives a Toxiproxy through the whole of its Go client: drive API-ADDRESS ECHO-SERVER
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/client"
)

// must ends the program with the caller's line when something went wrong or does not hold.
func must(err error, holds ...bool) {
	for _, one := range holds {
		if !one && err == nil {
			err = errors.New("does not hold")
		}
	}
	if err != nil {
		_, _, line, _ := runtime.Caller(1)
		fmt.Fprintf(os.Stderr, "main.go:%d: %v\n", line, err)
		os.Exit(1)
	}
}

// roundTrip is the time for a few bytes through the proxy and back.
func roundTrip(proxy *toxiproxy.Proxy) (time.Duration, error) {
	began := time.Now()
	connection, err := net.Dial("tcp", proxy.Listen)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	if _, err = connection.Write([]byte("ping")); err != nil {
		return 0, err
	}
	_, err = connection.Read(make([]byte, 4))
	return time.Since(began), err
}

func main() {
	client := toxiproxy.NewClient(os.Args[1])
	echo := os.Args[2]
	version, err := client.Version()
	must(err, strings.Contains(string(version), `"version"`))

	proxy, err := client.CreateProxy("go", "127.0.0.1:0", echo)
	must(err, proxy.Enabled)
	_, err = roundTrip(proxy)
	must(err)
	_, err = client.CreateProxy("go", "127.0.0.1:0", echo)
	var refusal *toxiproxy.ApiError
	must(nil, errors.As(err, &refusal), refusal.Status == 409, refusal.Message == "proxy already exists")

	toxic, err := proxy.AddToxic("late", "latency", "downstream", 1, toxiproxy.Attributes{"latency": 80})
	must(err, toxic.Name == "late", toxic.Attributes["jitter"] == 0.0)
	took, err := roundTrip(proxy)
	must(err, took >= 80*time.Millisecond)
	toxic, err = proxy.UpdateToxic("late", 1, toxiproxy.Attributes{"latency": 1})
	must(err, toxic.Attributes["latency"] == 1.0)
	took, err = roundTrip(proxy)
	must(err, took < 80*time.Millisecond)
	toxics, err := proxy.Toxics()
	must(err, len(toxics) == 1, toxics[0].Type == "latency")
	must(proxy.RemoveToxic("late"))
	must(nil, proxy.RemoveToxic("late") != nil)

	options := toxiproxy.ToxicOptions{
		ProxyName: "go", ToxicName: "cut", ToxicType: "limit_data", Stream: "upstream", Toxicity: 0.5,
		Attributes: toxiproxy.Attributes{"bytes": 3},
	}
	toxic, err = client.AddToxic(&options)
	must(err, toxic.Toxicity == 0.5, toxic.Stream == "upstream")
	_, err = client.UpdateToxic(&options)
	must(err)
	must(client.RemoveToxic(&options))

	must(proxy.Disable())
	_, err = roundTrip(proxy)
	must(nil, errors.Is(err, syscall.ECONNREFUSED))
	must(proxy.Enable())
	must(proxy.Disable())
	must(client.ResetState())
	proxy, err = client.Proxy("go")
	must(err, proxy.Enabled)
	proxy.Upstream = "127.0.0.1:1"
	must(proxy.Save())

	populated, err := client.Populate([]toxiproxy.Proxy{
		{Name: "go", Listen: proxy.Listen, Upstream: echo, Enabled: true},
		{Name: "other", Listen: "127.0.0.1:0", Upstream: echo},
	})
	must(err, len(populated) == 2, !populated[1].Enabled)
	_, err = roundTrip(populated[0])
	must(err)

	all, err := client.Proxies()
	must(err, len(all) == 2)
	for _, each := range all {
		must(each.Delete())
	}
	all, err = client.Proxies()
	must(err, len(all) == 0)
	fmt.Println("all held")
}
