module goclient

go 1.26.0

require github.com/mrz1836/postmark v1.7.4
