def check(data, quick): pass
