.PHONY: model
model: ## train the weights of the selector with Python (MCPHUB_DATA: folder of more data sets); prints the leave-one-family-out table
	nice -n 15 hub/models/train/make.sh
