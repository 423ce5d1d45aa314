"""Jobs of concurrent.futures.ProcessPoolExecutor: `alone` or `map`, how many, how many workers. Prints nanoseconds."""
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def square(number):
    return number * number


def main():
    what, count, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(square, range(workers)))  # the workers start
        start = time.perf_counter_ns()
        if what == "map":
            assert sum(1 for _ in pool.map(square, range(count))) == count
        else:
            for number in range(count):
                assert pool.submit(square, number).result() == number * number
        print(time.perf_counter_ns() - start)


if __name__ == "__main__":
    main()
